"""What a change of formats costs a run with dynamic precision: recompiling the step, and costing it anew.

    python -m benchmarks.format_change [--changes 5]

At each change every fourth contraction goes one mode down, others than at the change before. The
cache of mappings starts empty: a change finds there the mappings of contractions that keep their formats. The
training graph is differentiated once, so that a change runs the passes from the formats on. Processor time,
batch 64 of 28x28.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx

from flexc.datasets.arrays import DataSet, Examples
from flexc.disk_cache import VARIABLE
from flexc.options import CompileOptions, TrainingOptions
from flexc.training.machine_cost import cost_of_step
from flexc.training.model import TrainedModel, load_trained_model
from flexc.training.precision_control import ControlOptions, PrecisionController
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "small ResNet": make_small_resnet,
    "small MobileNet": make_small_mobilenet,
}
TARGET = "flexblock"
BATCH, SIDE, CLASSES = 64, 28, 10
STRIDE = 4


def noise() -> DataSet:
    """Examples of the shape of MNIST's; values do not matter."""
    images = np.random.default_rng(0).standard_normal((BATCH, 1, SIDE, SIDE)).astype(np.float32)
    examples = Examples.of_images(images, np.arange(BATCH) % CLASSES)
    return DataSet("noise", examples, examples)


def compile_seconds(model: TrainedModel, policy: str) -> tuple[float, float]:
    """Processor seconds of the passes of a training step, and of what the machine would spend on it."""
    options = CompileOptions(policy=policy, training=TrainingOptions())
    start = time.process_time()
    step = model.training_step(options)
    compiled = time.process_time()
    cost_of_step(step.programs, TARGET)
    return compiled - start, time.process_time() - compiled


def narrow(control: PrecisionController, first: int) -> None:
    """Put every fourth contraction, from ``first`` on, one mode down."""
    found = control.to_json()
    for point in found["points"][first % STRIDE :: STRIDE]:
        point["bits"] = max(4, point["bits"] // 2)
    control.restore(found)


@click.command(help=__doc__)
@click.option("--changes", default=5, show_default=True)
def main(changes: int) -> None:
    click.echo(f"{'model':18} {'':12} {'passes':>9} {'machine':>9}")
    with tempfile.TemporaryDirectory() as name:
        os.environ[VARIABLE] = f"{name}/cache"
        path, policy = Path(name) / "model.onnx", Path(name) / "policy.toml"
        for title, make in MODELS.items():
            onnx.save(make(), path)
            model = load_trained_model(path, noise(), batch=BATCH, options=TrainingOptions())
            widest = model.training_step(CompileOptions(policy="FB24", training=TrainingOptions()))
            control = PrecisionController(ControlOptions(), widest.widths())
            rows = [("first", compile_seconds(model, "FB24"))]
            for number in range(changes):
                narrow(control, number)
                policy.write_text(control.policy_text())
                rows.append((f"change {number + 1}", compile_seconds(model, str(policy))))
            for row, (passes, machine) in rows:
                click.echo(f"{title:18} {row:12} {passes:7.2f} s {machine:7.2f} s")


if __name__ == "__main__":
    main()
