"""The event simulation of instruction streams: instructions a second on whole networks, on one thread.

    python -m benchmarks.event_simulation [--policy FB16] [--repeats 9]

An instruction is one execution of a record that has an engine; control (slots, loops) is not counted, though
it takes its time. A call starts from a stream in memory and checks every record. The reference, which goes
record by record, runs beside it, and both must find the same.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import onnx

import flexc
from flexc.backends.stream import timing, timing_reference
from flexc.backends.stream.encode import read_stream
from flexc.backends.stream.program import Stream
from flexc.backends.stream.timeline import Timeline
from flexc.options import TrainingOptions
from flexc.target import Target, load_target
from models.make_mobilenet import make_mobilenet_v2
from models.make_resnet import make_resnet

PROGRAMS: dict[str, tuple[Callable[[], onnx.ModelProto], TrainingOptions | None]] = {
    "ResNet-18": (lambda: make_resnet("resnet18"), None),
    "ResNet-50": (lambda: make_resnet("resnet50"), None),
    "MobileNetV2": (make_mobilenet_v2, None),
    "MobileNetV2, batch 64": (lambda: make_mobilenet_v2(batch=64), None),
    "ResNet-18 training": (lambda: make_resnet("resnet18"), TrainingOptions()),
    "ResNet-18 training, batch 64": (lambda: make_resnet("resnet18", batch=64), TrainingOptions()),
}
TARGET = "flexblock"


def processor_seconds(
    simulate: Callable[[Stream, Target], Timeline], stream: Stream, target: Target, repeats: int
) -> tuple[float, Timeline]:
    """The median of the processor time of calls, and what they find."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        found = simulate(stream, target)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), found


def measure(name: str, policy: str, repeats: int, folder: Path) -> str:
    """The row of one program."""
    make, training = PROGRAMS[name]
    onnx.save(make(), folder / "model.onnx")
    artefact = folder / "artefact"
    flexc.compile(folder / "model.onnx", output=artefact, policy=policy, target=TARGET, training=training)
    stream, target = read_stream(artefact / "stream.bin"), load_target(TARGET)
    seconds, found = processor_seconds(timing.simulate, stream, target, repeats)
    reference_seconds, expected = processor_seconds(timing_reference.simulate, stream, target, 3)
    if found != expected:
        raise click.ClickException(f"{name}: the reference finds another timeline")
    row = f"{name:28} {len(stream.records):8,} {found.instructions:12,} {1e3 * seconds:8.1f} ms"
    return f"{row} {found.instructions / seconds:12,.0f} {reference_seconds / seconds:9.1f}x"


@click.command(help=__doc__)
@click.option("--policy", default="FB16", show_default=True)
@click.option("--repeats", default=9, show_default=True)
def main(policy: str, repeats: int) -> None:
    click.echo(f"{policy}, '{TARGET}', processor time, medians of {repeats}")
    titles = f"{'program':28} {'records':>8} {'instructions':>12} {'time':>11} {'a second':>12}"
    click.echo(f"{titles} {'reference':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name in PROGRAMS:
            click.echo(measure(name, policy, repeats, Path(folder)))


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.event_simulation", *sys.argv[1:]])
    main()
