"""``flexc targets``: the machines and the baselines, and every value that one of them assumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from flexc.cli.options import format_option, json_option, one_format
from flexc.target import Target, catalog_names, load_target
from flexc.target.baseline import Baseline
from flexc.target.load_baseline import baseline_names, load_baseline
from flexc.target.tables import SourcedValue
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.targets"
SCHEMA_VERSION = 1
ASSUMED = "assumed"


@dataclass(frozen=True)
class Row:
    """One value of a target: its key, what it means, and where it comes from."""

    key: str
    value: bool | int | float | str
    origin: str
    meaning: str


@click.command()
@click.argument("name", required=False)
@format_option("table", "json")
@json_option
def targets(name: str | None, form: str | None, as_json: bool) -> None:
    """List the machines and the arrays they are compared with, or show the values of NAME (or a .toml file).

    Every value is an assumption of this project, not a figure of a product or a paper; energies name the
    publication they come from.
    """
    found: list[Target | Baseline] = []
    if name is None:
        found += [load_target(one) for one in catalog_names()]
        found += [load_baseline(one) for one in baseline_names()]
    else:
        found.append(load_baseline(name) if name in baseline_names() else load_target(name))
    if one_format(form, as_json) == "json":
        content = {"targets": [target_json(one) for one in found]}
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, content), nl=False)
    elif name is None:
        _print(_list_table([one for one in found if isinstance(one, Target)]))
        _print(_baseline_table([one for one in found if isinstance(one, Baseline)]))
    else:
        click.echo(f"{found[0].name}: every value is assumed")
        _print(_value_table(list(rows_of(found[0]))))


def target_json(target: Target | Baseline) -> dict[str, Any]:
    """The target or baseline as JSON: its values by key, each with its origin and meaning."""
    values = {
        row.key: {"value": row.value, "origin": row.origin, "meaning": row.meaning} for row in rows_of(target)
    }
    return {"name": target.name, "values": values}


def rows_of(record: object, prefix: str = "") -> Iterator[Row]:
    """Every value of a target, in the order of its file; keys of nested tables are dotted."""
    assert is_dataclass(record)
    scalars: list[Field[Any]] = [each for each in fields(record) if each.metadata and each.name != "name"]
    for each in scalars:
        yield Row(prefix + each.name, getattr(record, each.name), ASSUMED, each.metadata["meaning"])
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, SourcedValue):
            yield Row(prefix + each.name, value.value, f"{ASSUMED}, after {value.source}", "")
        elif is_dataclass(value):
            yield from rows_of(value, f"{prefix}{each.name}.")


def _list_table(found: list[Target]) -> Table:
    table = Table(title="Targets (every value is assumed)")
    table.add_column("name", no_wrap=True)
    for column in ("cores", "MHz", "multipliers", "buffers a core, KiB", "DRAM, GB/s", "vector lanes"):
        table.add_column(column, justify="right")
    for target in found:
        buffers = (target.operand_buffer_bytes, target.held_buffer_bytes, target.psum_buffer_bytes)
        table.add_row(
            target.name,
            str(target.cores),
            f"{target.clock_mhz:g}",
            str(target.multipliers),
            " / ".join(f"{size / 1024:g}" for size in buffers),
            f"{target.dram_bytes_per_second / 1e9:g}",
            str(target.vector_elements_per_cycle),
        )
    return table


def _baseline_table(found: list[Baseline]) -> Table:
    table = Table(title="Baselines (every value is assumed; buffers and DRAM are those of the other machine)")
    table.add_column("name", no_wrap=True)
    table.add_column("array")
    for one in found:
        table.add_row(one.name, one.description)
    return table


def _value_table(rows: list[Row]) -> Table:
    table = Table()
    table.add_column("key", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("origin")
    table.add_column("meaning")
    for row in rows:
        table.add_row(row.key, _value_text(row.value), row.origin, row.meaning)
    return table


def _value_text(value: bool | int | float | str) -> str:
    if isinstance(value, bool | str):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _print(table: Table) -> None:
    Console(width=130).print(table)
