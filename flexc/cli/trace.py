"""``flexc trace``: an artefact's simulated run as a trace to look at."""

from __future__ import annotations

from pathlib import Path

import click

from flexc.analysis.trace import trace_of
from flexc.cli.progress import working
from flexc.output_file import write_file
from flexc.program import load

MAX_EVENTS = 200_000


@click.command("trace", short_help="Write the simulated run of an artefact as a Chrome trace.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="TRACE.json.gz", type=click.Path(path_type=Path),
    help="File to write; compressed if its name ends in .gz.",
)  # fmt: skip
@click.option(
    "--max-events", type=click.IntRange(min=1), default=MAX_EVENTS, show_default=True, metavar="N",
    help="The most events that the trace may have; slices of one engine and group are merged to fit.",
)  # fmt: skip
def trace(folder: Path, output: Path, max_events: int) -> None:
    """Write what every engine does, and how full the buffers are, when the artefact in the folder DIR runs:
    a Chrome trace, for ui.perfetto.dev. All rates behind it are assumptions of the target.

    \b
    Example:
      flexc trace resnet18.flexc -o trace.json.gz
    """
    program = load(folder)
    with working("simulating"):
        found = trace_of(program.schedule, program.stream, program.target, max_events)
    write_file(output, found.write)
    click.echo(f"wrote {output}: {len(found.events):,} events; {found.note}")
