"""``flexc policies``: the named precision policies, and what one of them says."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from flexc.cli.options import format_option, json_option, one_format
from flexc.precision.loading import catalog_names, load_policy
from flexc.precision.policy import Override, Policy, Setting
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.policies"
SCHEMA_VERSION = 1


@click.command()
@click.argument("name", required=False)
@format_option("table", "json")
@json_option
@click.option("--everywhere", is_flag=True, help="Without the policy's overrides.")
def policies(name: str | None, form: str | None, as_json: bool, everywhere: bool) -> None:
    """List the named policies, or show the policy NAME (or that of a .toml file)."""
    names = catalog_names() if name is None else [name]
    found = [load_policy(one, everywhere=everywhere) for one in names]
    if one_format(form, as_json) == "json":
        content = {"policies": [policy_json(one) for one in found]}
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, content), nl=False)
    elif name is None:
        _print(_list_table(found))
    else:
        click.echo(f"{found[0].name}: {found[0].description}")
        _print(_rule_table(found[0]))


def policy_json(policy: Policy) -> dict[str, Any]:
    """The policy as JSON: settings of the default, then conditions and settings of each override."""
    return {
        "name": policy.name,
        "description": policy.description,
        "default": [_setting_json(one) for one in policy.default],
        "overrides": [
            {"if": _conditions(override), "set": [_setting_json(one) for one in override.settings]}
            for override in policy.overrides
        ],
    }


def _setting_json(setting: Setting) -> dict[str, Any]:
    block = None if setting.format is None else setting.format.block
    fields = {
        "pass": setting.pass_,
        "operand": setting.operand,
        "format": None if setting.format is None else setting.format.name,
        "mantissa_bits": None if block is None else block.mantissa_bits,
        "sign": None if block is None else block.sign,
        "group_length": setting.group_length
        or (setting.format.group_length if block and setting.format else None),
        "rounding": setting.rounding,
        "tile": None if setting.tile is None else list(setting.tile),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _conditions(override: Override) -> dict[str, str | bool]:
    given = {"node": override.node, "first": override.first, "last": override.last, "kind": override.kind}
    return {key: value for key, value in given.items() if value is not None}


def _list_table(found: list[Policy]) -> Table:
    table = Table(title="Precision policies")
    table.add_column("name", no_wrap=True)
    table.add_column("overrides", justify="right")
    table.add_column("description")
    for policy in found:
        table.add_row(policy.name, str(len(policy.overrides)), policy.description)
    return table


def _rule_table(policy: Policy) -> Table:
    table = Table()
    for column in ("layers", "pass", "operand", "format", "mantissa bits", "group", "rounding", "tile"):
        table.add_column(column)
    rules = [("all", policy.default)]
    for override in policy.overrides:
        conditions = ", ".join(
            f"{key} = {str(value).lower()}" for key, value in _conditions(override).items()
        )
        rules.append((conditions, override.settings))
    for layers, settings in rules:
        for setting in settings:
            shown = _setting_json(setting)
            keys = ("pass", "operand", "format", "mantissa_bits", "group_length", "rounding", "tile")
            table.add_row(layers, *(str(shown.get(key, _silent(key))) for key in keys))
    return table


def _silent(key: str) -> str:
    return "all" if key in ("pass", "operand") else ""


def _print(table: Table) -> None:
    Console(width=110).print(table)
