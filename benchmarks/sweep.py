"""Points an hour of `flexc sweep` with one and with two worker processes, mappings searched and found again.

python -m benchmarks.sweep [--repeats 3] [--jobs 1 --jobs 2]

Inference and training steps of three networks at batch 64 on three sizes of FlexBlock and a grid in bf16, in
FB12 and FB16: 48 points. Every run is a process of its own with an empty store; the first of each pair has an
empty cache of mappings, too, which the second then finds full. Numbers of workers take turns. Points an hour
are those that the command prints; processor time is that of the process and its workers, imports included,
which other work on the machine does not stretch.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Run:
    """What one run of the command took."""

    points_an_hour: float
    processor_seconds: float


def run_sweep(sweep: Path, jobs: int, cache: Path) -> Run:
    """Runs the command; RuntimeError where a point failed."""
    before = _processor_seconds()
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
    return Run(float(found[1].replace(",", "")), _processor_seconds() - before)


def _processor_seconds() -> float:
    """Of all processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(jobs: tuple[int, ...], repeats: int) -> Mapping[tuple[int, str], list[Run]]:
    """Every run, by workers and cache."""
    found: dict[tuple[int, str], list[Run]] = {(count, cache): [] for count in jobs for cache in CACHES}
    with tempfile.TemporaryDirectory() as name:
        sweep = write_sweep(Path(name))
        for _ in range(repeats):
            for count in jobs:
                with tempfile.TemporaryDirectory() as cache:
                    for state in CACHES:
                        found[count, state].append(run_sweep(sweep, count, Path(cache)))
    return found


@click.command(help=__doc__)
@click.option("--repeats", default=3, show_default=True)
@click.option("--jobs", multiple=True, type=click.IntRange(min=1), default=(1, 2), show_default=True)
def main(jobs: tuple[int, ...], repeats: int) -> None:
    """Prints a row for each number of workers: medians, with the least and the greatest."""
    found = measure(jobs, repeats)
    print("| workers | cache of mappings | points an hour | processor seconds |")
    print("|---|---|---:|---:|")
    for (count, cache), runs in found.items():
        rates = [run.points_an_hour for run in runs]
        rate = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        seconds = statistics.median(run.processor_seconds for run in runs)
        print(f"| {count} | {cache} | {rate} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
