"""``flexc policies``: the named precision policies, what one of them says, and importing one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from flexc.cli.options import format_option, json_option, one_format
from flexc.output_file import write_file
from flexc.precision.layers import Layer
from flexc.precision.loading import catalog_names, import_policy, load_policy
from flexc.precision.policy import POINTS, OperandFormat, Override, Policy, Setting
from flexc.precision.policy_text import policy_text
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.policies"
SCHEMA_VERSION = 1
NO_LAYER = Layer("", frozenset())


class _ShowUnlessNamed(click.Group):
    """A group whose command ``show`` needs no name: what is no command is an argument of it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowUnlessNamed, short_help="List and show precision policies.")
def policies() -> None:
    """List the named policies (`flexc policies`), show one (`flexc policies NAME`), or import one.

    \b
    Examples:
      flexc policies FB12LG16
      flexc policies mine.toml --json
      flexc policies import emulator.json -o emulator.toml
    """


@policies.command("import", short_help="Turn an emulator's configuration into a policy.")
@click.argument("configuration", metavar="FILE.json", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="POLICY.toml", type=click.Path(path_type=Path),
    help="The policy file to write.",
)  # fmt: skip
def import_command(configuration: Path, output: Path) -> None:
    """Write the policy that FILE.json describes, a configuration of the emulator BFPSim.

    All that is wrong with the file is reported at once. Layers keep the names that they have in it; where
    the ONNX nodes are called otherwise, change `node` in the policy.
    """
    policy = import_policy(configuration)
    write_file(output, lambda path: path.write_text(policy_text(policy), encoding="utf-8"))
    layers = f" and {len(policy.overrides)} layers" if policy.overrides else ""
    click.echo(f"wrote {output}: the default{layers}")


@policies.command(short_help="List the named policies, or show one.")
@click.argument("name", required=False)
@format_option("table", "json")
@json_option
@click.option("--everywhere", is_flag=True, help="Without the policy's overrides.")
def show(name: str | None, form: str | None, as_json: bool, everywhere: bool) -> None:
    """List the named policies, or show the policy NAME (or that of a .toml or .json file)."""
    names = catalog_names() if name is None else [name]
    found = [load_policy(one, everywhere=everywhere) for one in names]
    if one_format(form, as_json) == "json":
        content = {"policies": [policy_json(one) for one in found]}
        click.echo(versioned_json(SCHEMA, SCHEMA_VERSION, content), nl=False)
    elif name is None:
        _print(_list_table(found))
    else:
        click.echo(f"{found[0].name}: {found[0].description}")
        _print(_point_table(found[0]))
        if found[0].overrides:
            _print(_override_table(found[0]))


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


def _point_table(policy: Policy) -> Table:
    columns = ("point", "pass", "tensor", "mantissa bits", "sign", "group", "rounding", "tile")
    table = Table(*columns, title="Layers that no override is about" if policy.overrides else "Every layer")
    for point, (pass_, operand) in POINTS.items():
        found = policy.everywhere().operand(NO_LAYER, operand, pass_)
        cells = ["fp32"] if found is None else list(map(str, _cells(found)))
        table.add_row(point, pass_, operand, *cells)
    return table


def _cells(found: OperandFormat) -> tuple[object, ...]:
    block, tile = found.block, found.tile
    group, shape = (found.group_length, "") if tile is None else ("", list(tile))
    return block.mantissa_bits, block.sign, group, found.rounding, shape


def _override_table(policy: Policy) -> Table:
    columns = ("layers", "points", "format", "mantissa bits", "group", "rounding", "tile")
    table = Table(*columns, title="Overrides, the later wins")
    for override in policy.overrides:
        conditions = ", ".join(
            f"{key} = {str(value).lower()}" for key, value in _conditions(override).items()
        )
        for setting in override.settings:
            shown = _setting_json(setting)
            keys = ("format", "mantissa_bits", "group_length", "rounding", "tile")
            points = "all" if len(setting.points) == len(POINTS) else " ".join(setting.points)
            table.add_row(conditions, points, *(str(shown.get(key, "")) for key in keys))
    return table


def _print(table: Table) -> None:
    Console(width=110).print(table)
