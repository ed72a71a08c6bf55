"""Warm compilation of ResNet-50 at 224, and what importing the packages costs before it.

python -m benchmarks.compile_time [--network resnet50] [--repeats 3]
"""

from __future__ import annotations

import time

_start = time.perf_counter()
import flexc.api  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _start

import statistics  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import click  # noqa: E402
import onnx  # noqa: E402

from models.make_resnet import DEPTHS, make_resnet  # noqa: E402


def compile_seconds(model: Path, folder: Path) -> tuple[float, float]:
    """Seconds of compiling ``model``, and of saving the artefact to ``folder``."""
    start = time.perf_counter()
    program = flexc.api.compile(model)
    compiled = time.perf_counter()
    program.save(folder)
    return compiled - start, time.perf_counter() - compiled


@click.command(help=__doc__)
@click.option("--network", type=click.Choice(sorted(DEPTHS)), default="resnet50", show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(network: str, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / f"{network}.onnx"
        onnx.save(make_resnet(network), model)
        # The first compilation fills the caches of the mapping search, and is not counted.
        cold, _ = compile_seconds(model, Path(name) / "cold")
        runs = [compile_seconds(model, Path(name) / "warm") for _ in range(repeats)]
    click.echo(f"package imports   {IMPORT_SECONDS:6.2f} s")
    click.echo(f"first compile     {cold:6.2f} s")
    click.echo(f"warm compile      {statistics.median(run[0] for run in runs):6.2f} s  (median of {repeats})")
    click.echo(f"save              {statistics.median(run[1] for run in runs):6.2f} s")


if __name__ == "__main__":
    main()
