"""Points an hour of `flexc sweep` with one and with two worker processes, mappings searched and found again.

python -m benchmarks.sweep [--repeats 3] [--jobs 1 --jobs 2]

Inference and training steps of three networks at batch 64 on three sizes of FlexBlock and a grid in bf16, in
FB12 and FB16: 48 points. Every run is a process of its own with an empty store; the first of each pair has an
empty cache of mappings, too, which the second then finds full. Numbers of workers take turns.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from flexc.analysis.comparison.manifest import ZOO

MODELS = ("resnet18-imagenet", "mobilenet_v2-imagenet", "transformer")
TARGETS = ("flexblock", "flexblock-edge", "flexblock-cloud", "bf16-systolic")
POLICIES = ("FB12", "FB16")
BATCH = 64
RUN_FLEXC = "from flexc.cli import main; main()"
CACHES = ("empty", "full")


def write_sweep(folder: Path) -> Path:
    """The file of the sweep."""
    lists = {
        "models": [str(ZOO / f"{name}.onnx") for name in MODELS],
        "targets": list(TARGETS),
        "policies": list(POLICIES),
    }
    lines = [f"{name} = {values!r}" for name, values in lists.items()]
    path = folder / "sweep.toml"
    path.write_text("\n".join([*lines, f"batches = [{BATCH}]", "train = [false, true]", ""]))
    return path


def points_an_hour(sweep: Path, jobs: int, cache: Path) -> float:
    """What one run of the command says of itself; RuntimeError where a point failed."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        command = [
            sys.executable,
            "-c",
            RUN_FLEXC,
            "sweep",
            str(sweep),
            "-o",
            str(table),
            "--jobs",
            str(jobs),
        ]
        environment = {**os.environ, "FLEXC_CACHE_DIR": str(cache)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = re.search(r"points, 0 failed(?:.|\n)*?([\d,]+) points an hour", done.stdout)
    if found is None:
        raise RuntimeError(f"a point failed, or none was estimated: {done.stdout}")
    return float(found[1].replace(",", ""))


def measure(jobs: tuple[int, ...], repeats: int) -> Mapping[tuple[int, str], list[float]]:
    """Points an hour of every run, by workers and cache."""
    found: dict[tuple[int, str], list[float]] = {(count, cache): [] for count in jobs for cache in CACHES}
    with tempfile.TemporaryDirectory() as name:
        sweep = write_sweep(Path(name))
        for _ in range(repeats):
            for count in jobs:
                with tempfile.TemporaryDirectory() as cache:
                    for state in CACHES:
                        found[count, state].append(points_an_hour(sweep, count, Path(cache)))
    return found


@click.command(help=__doc__)
@click.option("--repeats", default=3, show_default=True)
@click.option("--jobs", multiple=True, type=click.IntRange(min=1), default=(1, 2), show_default=True)
def main(jobs: tuple[int, ...], repeats: int) -> None:
    """Prints a row for each number of workers: medians, with the least and the greatest."""
    found = measure(jobs, repeats)
    print("| workers | " + " | ".join(f"{cache} cache: points an hour" for cache in CACHES) + " |")
    print("|---|" + "---:|" * len(CACHES))
    for count in jobs:
        cells = (
            f"{statistics.median(runs):,.0f} ({min(runs):,.0f} to {max(runs):,.0f})"
            for runs in (found[count, cache] for cache in CACHES)
        )
        print(f"| {count} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
