"""``flexc targets``: the machines, and every value that one of them assumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from flexc.cli.options import format_option, json_option, one_format
from flexc.target import Target, catalog_names, load_target
from flexc.target.tables import SourcedValue
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.targets"
SCHEMA_VERSION = 1
ASSUMED = "assumed"


@dataclass(frozen=True)
class Row:
    """One value of a target: its key, what it means, and where it comes from."""

    key: str
    value: int | float | str
    origin: str
    meaning: str


@click.command()
@click.argument("name", required=False)
@format_option("table", "json")
@json_option
def targets(name: str | None, form: str | None, as_json: bool) -> None:
    """List the machines, or show the values of the machine NAME (or that of a .toml file).

    Every value is an assumption of this project, not a figure of a product or a paper; energies name the
    publication they come from.
    """
    found = [load_target(one) for one in (catalog_names() if name is None else [name])]
    if one_format(form, as_json) == "json":
        content = {"targets": [target_json(one) for one in found]}
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, content), nl=False)
    elif name is None:
        _print(_list_table(found))
    else:
        click.echo(f"{found[0].name}: every value is assumed")
        _print(_value_table(list(rows_of(found[0]))))


def target_json(target: Target) -> dict[str, Any]:
    """The target as JSON: its values by key, each with its origin and meaning."""
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


def _value_table(rows: list[Row]) -> Table:
    table = Table()
    table.add_column("key", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("origin")
    table.add_column("meaning")
    for row in rows:
        value = f"{row.value:,}" if isinstance(row.value, int) else f"{row.value:,.10g}"
        table.add_row(row.key, value, row.origin, row.meaning)
    return table


def _print(table: Table) -> None:
    Console(width=130).print(table)
