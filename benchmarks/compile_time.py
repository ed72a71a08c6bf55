"""Warm compilation of ResNet-50 at 224, and what importing the packages costs before it.

python -m benchmarks.compile_time [--network resnet50] [--train] [--repeats 3]

The mappings of the first compilation are searched: the cache of mappings starts empty.
"""

from __future__ import annotations

import time

_start = time.perf_counter()
import flexc.api  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _start

import os  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import click  # noqa: E402
import onnx  # noqa: E402

from flexc.disk_cache import VARIABLE  # noqa: E402
from flexc.options import TrainingOptions  # noqa: E402
from models.make_resnet import DEPTHS, make_resnet  # noqa: E402


def compile_seconds(model: Path, folder: Path, training: TrainingOptions | None) -> tuple[float, float]:
    """Seconds of the passes on ``model``, and of emitting both programs and writing them to ``folder``."""
    start = time.perf_counter()
    program = flexc.api.compile(model, training=training)
    compiled = time.perf_counter()
    program.save(folder)
    return compiled - start, time.perf_counter() - compiled


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
        # The first compilation fills the caches of the mapping search, and is not counted.
        cold, _ = compile_seconds(model, Path(name) / "cold", training)
        runs = [compile_seconds(model, Path(name) / "warm", training) for _ in range(repeats)]
    passes, saving = (statistics.median(column) for column in zip(*runs, strict=True))
    click.echo(f"package imports             {IMPORT_SECONDS:6.2f} s")
    click.echo(f"first time, passes          {cold:6.2f} s")
    click.echo(f"warm, loading and passes    {passes:6.2f} s  (median of {repeats})")
    click.echo(f"warm, emitting and writing  {saving:6.2f} s")
    click.echo(f"warm, together              {passes + saving:6.2f} s")


if __name__ == "__main__":
    main()
