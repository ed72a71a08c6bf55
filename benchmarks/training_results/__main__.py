"""Training results over three seeds: runs in a queue, and the tables of docs/training_results.md.

    python -m benchmarks.training_results run [--results DIR] [--minutes 100]
    python -m benchmarks.training_results table [--results DIR]

A run that has a result is not repeated.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from benchmarks.training_results.plan import experiments
from benchmarks.training_results.store import Results
from benchmarks.training_results.work_queue import work


@click.group(help=__doc__)
def main() -> None:
    """Nothing of its own."""


@main.command("run")
@click.option("--results", type=click.Path(path_type=Path), default=Path("build/training-results"))
@click.option("--processes", default=2, show_default=True)
@click.option("--minutes", default=float("inf"), help="Start no further run after so many minutes.")
def run_command(results: Path, processes: int, minutes: float) -> None:
    """Run what has no result yet."""
    fine = work(experiments(), Results(results), processes=processes, minutes=minutes, report=click.echo)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.training_results", *sys.argv[1:]])
    main()
