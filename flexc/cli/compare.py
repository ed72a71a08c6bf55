"""``flexc compare``: models on FlexBlock and on other arrays, in closed form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flexc.cli.options import format_option, json_option, one_format
from flexc.cli.progress import working_on
from flexc.cli.text_table import table_lines

if TYPE_CHECKING:
    from flexc.analysis.comparison.result import Comparison

DEFAULT_TARGETS = "flexblock,bf16-systolic,hbfp8-systolic,int8-systolic,sigma-bf16,fast-bfp"


@click.command("compare", short_help="Compare accelerators on models, by closed forms.")
@click.argument(
    "models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--targets", default=DEFAULT_TARGETS, show_default=True, metavar="NAME,NAME..",
    help="Targets and baselines; the first is compared with the others.",
)  # fmt: skip
@click.option("--train", is_flag=True, help="A training step instead of an inference.")
@click.option("--batch", type=click.IntRange(min=1), help="Examples, where the model leaves them open.")
@click.option(
    "--policy", "policies", multiple=True, default=("FB12",), show_default=True, metavar="NAME|FILE",
    help="Precision on FlexBlock; may be repeated.",
)  # fmt: skip
@click.option(
    "--batchnorm", type=click.Choice(["fp32", "lightnorm"]), default="fp32", show_default=True,
    help="Batch norm on all sides; the gain of LightNorm alone is a column of its own.",
)  # fmt: skip
@click.option(
    "--iso", type=click.Choice(["datapath", "multipliers", "none"]), default="datapath", show_default=True,
    help="What is equal: area of the whole datapath, area of the multipliers, nothing of the arrays.",
)  # fmt: skip
@click.option("--no-weights", is_flag=True, help="Read no weights: their shapes suffice.")
@click.option("--no-ranges", is_flag=True, help="Leave out what other assumed values would give.")
@format_option("table", "markdown", "json")
@json_option
def compare_command(
    models: tuple[Path, ...],
    targets: str,
    train: bool,
    batch: int | None,
    policies: tuple[str, ...],
    batchnorm: str,
    iso: str,
    no_weights: bool,
    no_ranges: bool,
    form: str | None,
    as_json: bool,
) -> None:
    """Estimate cycles, traffic and energy of the ONNX files MODELS on several accelerators.

    Nothing is emitted or simulated: closed forms of the best mappings found. Every value of every target is
    assumed, so speed-ups come as ranges over the assumptions that matter.

    \b
    Examples:
      flexc compare resnet18.onnx --train --batch 64 --policy FB12 --policy FB16
      flexc compare resnet50.onnx --targets flexblock --train --batch 64 --no-weights --json
    """
    wanted = one_format(form, as_json)
    from flexc.analysis.comparison.remembered import comparison_entry, read_comparison, write_comparison

    entry = None
    if no_weights:
        settings = {
            "targets": targets, "policies": policies, "batchnorm": batchnorm, "iso": iso,
            "train": train, "batch": batch, "ranges": not no_ranges,
        }  # fmt: skip
        entry = comparison_entry(models, (*targets.split(","), *policies), settings)
        before = None if entry is None else read_comparison(entry)
        if before is not None:
            show(before, wanted)
            return
    # Imported here: the compiler is slow to load, and --help does not need it.
    from flexc.analysis.comparison.iso import Iso
    from flexc.analysis.comparison.models import load_compared_model
    from flexc.analysis.comparison.run import ComparisonOptions, compare
    from flexc.options import BatchNorm

    options = ComparisonOptions(
        targets=tuple(dict.fromkeys(targets.split(","))),
        policies=tuple(dict.fromkeys(policies)),
        batchnorm=BatchNorm(batchnorm),
        iso=Iso(iso),
        train=train,
        ranges=not no_ranges,
    )
    loads = [
        partial(load_compared_model, path, train=train, batch=batch, weights=not no_weights)
        for path in models
    ]
    with working_on("compare") as progress:
        found = compare(loads, options, progress)
    if entry is not None:
        write_comparison(entry, found)
    show(found, wanted)


def show(found: Comparison, form: str) -> None:
    """Prints a comparison as tables, as Markdown or as JSON."""
    from flexc.analysis.comparison.text import notes, tables

    if form == "json":
        click.echo(found.to_json(), nl=False)
        return
    for table in tables(found):
        if form == "markdown":
            lines = ["", f"**{table.title[0].upper()}{table.title[1:]}**", "", *table.markdown()]
        else:
            lines = ["", table.title, *table_lines(table.header, table.rows, numbers=table.numbers)]
        click.echo("\n".join(lines))
    click.echo("\n" + "\n".join(notes(found)))
