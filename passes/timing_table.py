"""The table that ``--timing`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from flexc.passes.manager import PassRun


def print_timing(runs: Sequence[PassRun]) -> None:
    """Prints to stderr, for each pass: milliseconds, share of the total, ops left, whether the IR changed."""
    total_seconds = sum(run.seconds for run in runs)
    table = Table(title="Pass timing")
    table.add_column("pass")
    for column in ("ms", "%", "ops"):
        table.add_column(column, justify="right")
    table.add_column("changed")
    for run in runs:
        share_percent = 100 * run.seconds / total_seconds if total_seconds else 0.0
        table.add_row(
            run.pass_text,
            f"{run.seconds * 1e3:.1f}",
            f"{share_percent:.0f}",
            str(run.op_count),
            "yes" if run.changed else "no",
        )
    table.add_section()
    table.add_row("total", f"{total_seconds * 1e3:.1f}", "", "", "")
    Console(stderr=True).print(table)
