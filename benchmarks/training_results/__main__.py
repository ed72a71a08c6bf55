"""Training results over three seeds: runs in a queue, and the tables of docs/training_results.md.

    python -m benchmarks.training_results run [--results DIR] [--minutes 100]
    python -m benchmarks.training_results table [--results DIR]

A run that has a result is not repeated. `table` adds the results to the summary in docs/data, in
place of older ones, and renews the tables of docs/training_results.md; without --results it takes the
summary that is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from benchmarks.training_results.document import with_tables
from benchmarks.training_results.plan import experiments
from benchmarks.training_results.store import Results
from benchmarks.training_results.summary import read_summaries, summarize, write_summaries
from benchmarks.training_results.tables import tables
from benchmarks.training_results.work_queue import work

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "training_results.md"
SUMMARY = DOCS / "data" / "training_results.json"
RESULTS = Path("build/training-results")


@click.group(help=__doc__)
def main() -> None:
    """Nothing of its own."""


@main.command("run")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--processes", default=2, show_default=True)
@click.option("--minutes", default=float("inf"), help="Start no further run after so many minutes.")
def run_command(results: Path, processes: int, minutes: float) -> None:
    """Run what has no result yet."""
    fine = work(experiments(), Results(results), processes=processes, minutes=minutes, report=click.echo)
    sys.exit(0 if fine else 1)


@main.command("table")
@click.option("--results", type=click.Path(path_type=Path, exists=True), help="Folder of finished runs.")
def table_command(results: Path | None) -> None:
    """Renew the tables of the document."""
    if results is not None:
        planned = {experiment.key for experiment in experiments()}
        kept = {one.experiment.key: one for one in read_summaries(SUMMARY)}
        kept |= {one["key"]: summarize(one) for one in Results(results).all()}
        write_summaries(SUMMARY, (one for key, one in kept.items() if key in planned))
    made = with_tables(DOCUMENT.read_text(encoding="utf-8"), tables(read_summaries(SUMMARY)))
    DOCUMENT.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    # NumPy's BLAS reads the number of threads when it is loaded: that takes a new process.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.training_results", *sys.argv[1:]])
    main()
