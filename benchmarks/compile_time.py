"""Compilation of ResNet-50 at 224, and what importing the packages costs before it.

python -m benchmarks.compile_time [--network resnet50] [--train] [--repeats 3]

The first compilation of the process searches its mappings: the cache of mappings starts empty. The later ones
find them in the process. Processor time is what counts on a machine with other work.
"""

from __future__ import annotations

import time

_start = time.perf_counter(), time.process_time()
import flexc.api  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _start[0], time.process_time() - _start[1]

import os  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TypeAlias  # noqa: E402

import click  # noqa: E402
import onnx  # noqa: E402

from flexc.disk_cache import VARIABLE  # noqa: E402
from flexc.options import TrainingOptions  # noqa: E402
from models.make_resnet import DEPTHS, make_resnet  # noqa: E402

Row: TypeAlias = tuple[float, float]
"""Seconds, and seconds of the processor."""
PARTS = ("loading and passes", "emitting and writing", "together")


def compile_seconds(model: Path, folder: Path, training: TrainingOptions | None) -> tuple[Row, ...]:
    """What compiling ``model`` and writing it to ``folder`` takes: a row for each of PARTS."""
    clocks = [(time.perf_counter(), time.process_time())]
    program = flexc.api.compile(model, training=training)
    clocks.append((time.perf_counter(), time.process_time()))
    program.save(folder)
    clocks.append((time.perf_counter(), time.process_time()))
    pairs = ((0, 1), (1, 2), (0, 2))
    return tuple((clocks[b][0] - clocks[a][0], clocks[b][1] - clocks[a][1]) for a, b in pairs)


def median_rows(runs: list[tuple[Row, ...]]) -> tuple[Row, ...]:
    """The median of each entry."""
    medians = [
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in zip(*runs, strict=True)
    ]
    return tuple((seconds, processor) for seconds, processor in medians)


@click.command(help=__doc__)
@click.option("--network", type=click.Choice(sorted(DEPTHS)), default="resnet50", show_default=True)
@click.option("--train", is_flag=True, help="Compile a training step.")
@click.option("--repeats", default=3, show_default=True)
def main(network: str, train: bool, repeats: int) -> None:
    training = TrainingOptions() if train else None
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / f"{network}.onnx"
        onnx.save(make_resnet(network), model)
        os.environ[VARIABLE] = str(Path(name) / "cache")
        first = compile_seconds(model, Path(name) / "first", training)
        later = median_rows([compile_seconds(model, Path(name) / "later", training) for _ in range(repeats)])
    click.echo(f"{'':34} {'seconds':>8} {'processor':>10}")
    rows = [("package imports", IMPORT_SECONDS)]
    rows += [(f"first time, {part}", row) for part, row in zip(PARTS, first, strict=True)]
    rows += [(f"later, {part}", row) for part, row in zip(PARTS, later, strict=True)]
    for title, (seconds, processor) in rows:
        click.echo(f"{title:34} {seconds:8.2f} {processor:10.2f}")


if __name__ == "__main__":
    main()
