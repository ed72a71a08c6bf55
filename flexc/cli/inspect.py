"""``flexc inspect``: where the cycles of an artefact go."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from flexc.analysis.inspection import (
    GroupOrder,
    assumption,
    byte_text,
    csv_text,
    energy_text,
    layer,
    ranked,
    spatial_utilization,
    summary,
    timeline,
)
from flexc.analysis.layer_details import details
from flexc.analysis.step_parts import (
    PART_TITLES,
    by_part,
    footprint,
    is_training_step,
    kept_csv,
    kept_lines,
    shares,
    totals,
)
from flexc.cli.options import format_option, json_option, one_format
from flexc.diagnostics import printable
from flexc.program import load
from flexc.schedule import GroupSchedule, Schedule

PIPE_WIDTH = 400
"""Columns of the table where stdout is no terminal."""
NUMBERS = ("MACs", "cycles", "cores", "DMA", "other", "spatial", "end to end", "limit", "DRAM", "energy")
LEAST_LOOKED_AT = ("other", "DMA", "cores", "MACs", "spatial", "formats", "end to end", "kind", "pass", "#")
"""Columns that a narrow terminal goes without, the first ones first."""
FOLDED_WIDTH = 24
COLUMN_GAP = 3


@click.command("inspect", short_help="Show where the cycles of an artefact go.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--layer", "layer_name", metavar="NAME",
    help="Only the groups of this ONNX node (or group number, as #3), with mapping, traffic and buffers.",
)  # fmt: skip
@click.option(
    "--sort", "order", type=click.Choice([one.value for one in GroupOrder]), default=GroupOrder.RUN.value,
    show_default=True,
    help="Groups in the order in which they run, or those with the most cycles, energy, DRAM bytes or MACs "
    "first.",
)  # fmt: skip
@click.option(
    "--kept", is_flag=True,
    help="Only list what a training step keeps for its backward pass; as JSON, the schedule without groups.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N groups.")
@format_option("table", "csv", "json")
@json_option
def inspect_command(
    folder: Path,
    layer_name: str | None,
    order: str,
    kept: bool,
    top: int | None,
    form: str | None,
    as_json: bool,
) -> None:
    """Show the schedule of the artefact in the folder DIR: a table and a timeline to read, a row a group as
    CSV, or the schedule as JSON.

    Cycles come from the event simulation of its instruction stream; groups overlap, so their cycles do not
    add up to the total. All rates behind them are assumptions of the target.

    \b
    Examples:
      flexc inspect resnet18.flexc
      flexc inspect resnet18.flexc --layer layer1.0.1.conv
      flexc inspect resnet18.flexc --sort cycles --top 5
      flexc inspect resnet18.flexc --format csv > layers.csv
    """
    chosen = one_format(form, as_json)
    if kept and (layer_name is not None or top is not None or order != GroupOrder.RUN.value):
        raise click.UsageError("--kept lists tensors of the whole step: --layer, --sort and --top exclude it")
    whole = load(folder).schedule
    schedule = whole if layer_name is None else layer(whole, layer_name)
    schedule = ranked(schedule, GroupOrder(order), top)
    if kept and chosen == "csv":
        click.echo(kept_csv(whole), nl=False)
    elif kept and chosen != "json":
        click.echo("\n".join(map(printable, kept_lines(whole))))
    elif chosen == "json":
        click.echo((replace(whole, groups=()) if kept else schedule).to_json(), nl=False)
    elif chosen == "csv":
        click.echo(csv_text(schedule), nl=False)
    elif layer_name is not None:
        click.echo(assumption(whole))
        for group in schedule.groups:
            click.echo("\n".join(map(printable, details(group))))
    else:
        _show(schedule, whole, GroupOrder(order))


def _show(schedule: Schedule, whole: Schedule, order: GroupOrder) -> None:
    click.echo("\n".join(summary(whole)))
    click.echo(footprint(whole))
    if is_training_step(whole):
        click.echo(shares(whole))
    step = is_training_step(whole)
    in_sections = step and order is GroupOrder.RUN
    texts = ("#", "node", *(("pass",) if step and not in_sections else ()), "kind", "formats")
    rows: list[list[str]] = []
    ends: set[int] = set()
    if not in_sections:
        rows += (_row(group, with_pass=step) for group in schedule.groups)
    else:
        for _, groups in by_part(schedule.groups):
            rows += (_row(group, with_pass=False) for group in groups)
            rows.append(_part_row(groups))
            ends.add(len(rows) - 1)
    ends.add(len(rows) - 1)
    rows.append(_total_row(schedule, whole, len(texts)))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=width, highlight=False, markup=False)
    table = Table(box=SIMPLE, pad_edge=False)
    shown = fitting_columns((*texts, *NUMBERS), rows, width)
    for column in shown:
        if column < len(texts):
            table.add_column(texts[column], overflow="fold")
        else:
            table.add_column(NUMBERS[column - len(texts)], justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        table.add_row(*(row[column] for column in shown), end_section=number in ends)
    console.print(table)
    left_out = [name for column, name in enumerate((*texts, *NUMBERS)) if column not in shown]
    if left_out:
        click.echo(f"left out, for want of width: {', '.join(left_out)} (--format csv has everything)")
    click.echo("\n".join(timeline(whole)))


def fitting_columns(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns of a table that fit ``width``: all, or without those that are looked at least.

    The second column folds, down to ``FOLDED_WIDTH``; numbers would be cut, so that they have to fit.
    """
    widths = [max(len(name), *(len(row[at]) for row in rows)) for at, name in enumerate(names)]
    widths[1] = min(widths[1], FOLDED_WIDTH)
    shown = list(range(len(names)))
    for name in LEAST_LOOKED_AT:
        if sum(widths[at] + COLUMN_GAP for at in shown) <= width:
            break
        shown = [at for at in shown if names[at] != name]
    return shown


def _total_row(schedule: Schedule, whole: Schedule, texts: int) -> list[str]:
    """Totals of the program, behind ``texts`` columns of text."""
    every = len(schedule.groups) == len(whole.groups)
    return [
        "",
        "total" if every else f"total of all {len(whole.groups)} groups",
        *([""] * (texts - 2)),
        f"{whole.macs:,}",
        f"{whole.cycles:,}",
        *_engine_columns(whole.busy_cycles),
        f"{whole.spatial_utilization:.1%}",
        f"{whole.end_to_end_utilization:.1%}",
        "",
        byte_text(whole.read_bytes + whole.written_bytes),
        energy_text(whole.energy_pj),
    ]


def _part_row(groups: Sequence[GroupSchedule]) -> list[str]:
    """The sums of one part of a training step; those of cycles count what overlaps more than once."""
    found = totals(groups)
    busy: dict[str, int] = {}
    for group in groups:
        for engine, use in group.engines.items():
            busy[engine] = busy.get(engine, 0) + use.busy_cycles
    macs = f"{found.macs:,}" if found.macs else ""
    moved = byte_text(found.moved_bytes)
    return [
        "",
        PART_TITLES[groups[0].step_part],
        f"{found.groups} groups",
        "",
        macs,
        f"{found.cycles:,}",
        *_engine_columns(busy),
        "",
        "",
        "",
        moved,
        energy_text(found.energy_pj),
    ]


def _row(group: GroupSchedule, *, with_pass: bool) -> list[str]:
    busy = {engine: use.busy_cycles for engine, use in group.engines.items()}
    others = f" +{len(group.nodes) - 1}" if len(group.nodes) > 1 else ""
    operators = f"{group.nodes[0].op_type}{others}" if group.nodes else ""
    formats = ", ".join(" x ".join(part.split()[0] for part in one.formats) for one in group.contractions)
    spatial = ""
    if group.contractions:
        spatial = f"{spatial_utilization(group.contractions):.1%}, {group.contractions[0].limit}"
    end_to_end = f"{group.end_to_end_utilization:.1%}" if group.contractions else ""
    return [
        str(group.index),
        printable(f"{group.label} ({operators})" if operators else group.label),
        *([PART_TITLES[group.step_part]] if with_pass else []),
        group.kind,
        formats,
        f"{group.macs:,}" if group.macs else "",
        f"{group.cycles:,}",
        *_engine_columns(busy),
        spatial,
        end_to_end,
        group.limit,
        byte_text(group.read_bytes + group.written_bytes),
        energy_text(group.energy_pj),
    ]


def _engine_columns(busy: Mapping[str, int]) -> list[str]:
    dma = busy.get("dma_in", 0) + busy.get("dma_out", 0)
    cores = busy.get("cores", 0)
    other = sum(busy.values()) - dma - cores
    return [f"{cycles:,}" if cycles else "" for cycles in (cores, dma, other)]
