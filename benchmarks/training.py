"""Training steps against PyTorch in fp32 on one thread: whole steps of the small networks.

    python -m benchmarks.training [--repeats 15] [--batch 64]

Times are medians of calls that alternate in one process, in processor time, so that other programs on the
machine count little; with NumPy alone and, where numba is installed, with compiled kernels. PyTorch is the
extra ``torch``; without it there are times and no ratios.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import click
import numpy as np
import onnx

from benchmarks.executor import ENGINES
from benchmarks.torch_training import torch_step
from flexc.datasets.arrays import DataSet, Examples
from flexc.numerics.acceleration import VARIABLE, use_compiled
from flexc.options import CompileOptions, Profile, TrainingOptions
from flexc.training.model import TrainedModel, load_trained_model
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "small_resnet": make_small_resnet,
    "small_mobilenet": make_small_mobilenet,
}
PRECISIONS = ("FB12", "FB12LG16WG16", "FB16", "FB24", "fp32")
"""Policies, and the profile without quantization and LightNorm."""
LEARNING_RATE = 0.01
WARM_UP_CALLS = 2
TORCH = "torch"
Call = Callable[[], object]


def random_images(count: int) -> Examples:
    """Images as those of MNIST in shape alone."""
    random = np.random.default_rng(0)
    images = random.standard_normal((count, 1, 28, 28)).astype(np.float32)
    return Examples.of_images(images, random.integers(0, 10, count))


def flexc_step(model: TrainedModel, precision: str, batch: Examples) -> Call:
    """A step from the first weights on, without measuring zero-setting errors."""
    options = TrainingOptions()
    compile_options = (
        CompileOptions(profile=Profile.FP32, training=options)
        if precision == "fp32"
        else CompileOptions(policy=precision, training=options)
    )
    step = model.training_step(compile_options)
    state = step.programs.first_state
    return lambda: step.run(batch, state, learning_rate=LEARNING_RATE, step=1, measure=None)


def on_engine(call: Call, engine: str) -> Call:
    """``call`` with NumPy alone or with compiled kernels."""

    def run() -> object:
        os.environ[VARIABLE] = ENGINES[engine]
        use_compiled.cache_clear()
        return call()

    return run


def median_seconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Median processor time of each call, taken in turns, without the first ones."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP_CALLS + repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number >= WARM_UP_CALLS:
                seconds[name].append(time.process_time() - start)
    return {name: median(found) for name, found in seconds.items()}


def rows_of(network: str, batch: Examples, repeats: int, folder: Path) -> Iterator[str]:
    """The rows of one network."""
    path = folder / f"{network}.onnx"
    onnx.save(NETWORKS[network](), path)
    data = DataSet(network, batch, batch)
    model = load_trained_model(path, data, batch=len(batch), options=TrainingOptions())
    calls = {}
    if find_spec(TORCH) is not None:
        step = torch_step(onnx.load(path), learning_rate=LEARNING_RATE, momentum=TrainingOptions().momentum)
        calls[TORCH] = lambda: step(batch.images, batch.class_labels)
    for precision in PRECISIONS:
        call = flexc_step(model, precision, batch)
        calls |= {f"{precision} {engine}": on_engine(call, engine) for engine in ENGINES}
    seconds = median_seconds(calls, repeats)
    reference = seconds.get(TORCH)
    if reference is not None:
        yield f"{network:16} {'torch, fp32':14} {1e3 * reference:8.1f} ms"
    for precision in PRECISIONS:
        row = f"{network:16} {precision:14}"
        for engine in ENGINES:
            found = seconds[f"{precision} {engine}"]
            ratio = "" if reference is None else f"{found / reference:.1f}x"
            row += f" {1e3 * found:8.1f} ms {ratio:>6} |"
        yield row.removesuffix(" |")


@click.command(help=__doc__)
@click.option(
    "--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), default=list(NETWORKS)
)
@click.option("--batch", default=64, show_default=True, help="Images a step.")
@click.option("--repeats", default=15, show_default=True)
def main(networks: tuple[str, ...], batch: int, repeats: int) -> None:
    click.echo(f"batch {batch}, 28x28, one thread, medians of {repeats}")
    click.echo(f"{'network':16} {'precision':14} {' | '.join(f'{engine:>18}' for engine in ENGINES)}")
    images = random_images(batch)
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            for row in rows_of(network, images, repeats, Path(folder)):
                click.echo(row)


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]])
    main()
