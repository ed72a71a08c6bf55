"""``flexc report``: an artefact as a page to look at."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from flexc.cli.progress import working
from flexc.diagnostics import error
from flexc.output_file import write_file
from flexc.program import load


@click.command("report", short_help="Write an artefact's schedule as one HTML page.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="REPORT.html", type=click.Path(path_type=Path),
    help="File to write; one that is there is replaced.",
)  # fmt: skip
@click.option(
    "--run", "run_folder", metavar="RUN", type=click.Path(path_type=Path),
    help="Folder of a training run, to show its zero-setting errors and accuracy, too.",
)  # fmt: skip
def report(folder: Path, output: Path, run_folder: Path | None) -> None:
    """Write a page about the artefact in the folder DIR: summary, roofline, energy, layers, their mappings,
    and the timeline with buffers and DRAM. The page is one file and needs no network. Figures that rest on
    assumed rates and energies of the target are marked so.

    \b
    Examples:
      flexc report resnet18.flexc -o report.html
      flexc report step.flexc -o report.html --run run
    """
    if importlib.util.find_spec("plotly") is None:
        raise error("FX555", "reports need plotly, which is missing", hint="pip install 'flexc[report]'")
    program = load(folder)
    # Imported here: without plotly the command says what is missing.
    from flexc.analysis.report.page import report_page

    with working("simulating and drawing"):
        page = report_page(program, run_folder)
    write_file(output, lambda path: path.write_text(page, encoding="utf-8"))
    click.echo(f"wrote {output}")
