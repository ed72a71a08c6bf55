"""Types of options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class InputShape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``NAME=1,3x224x224``: the shape of one input."""

    name = "NAME=DIMS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        """The name and the extents; a usage error for anything else, or extents below 1."""
        if isinstance(value, tuple):
            return value
        name, equals, dims = str(value).rpartition("=")
        parts = dims.replace("x", ",").split(",") if dims else []
        if not equals or not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"'{value}' is not of the form x=1,3,224,224", param, ctx)
        return name, tuple(int(part) for part in parts)


def shapes_by_name(
    ctx: click.Context, param: click.Parameter, values: tuple[tuple[str, tuple[int, ...]], ...]
) -> dict[str, tuple[int, ...]]:
    """The callback of a repeated InputShape option: a mapping, and a usage error for a repeated name."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in values:
        if name in found:
            raise click.BadParameter(f"the shape of '{name}' is given twice", ctx, param)
        found[name] = shape
    return found


def format_option(*formats: str) -> Callable[[Command], Command]:
    """``--format``, as the parameter ``form``: one of ``formats``, or None; the first is the default."""
    return click.option(
        "--format", "form", type=click.Choice(formats), help=f"What to print.  [default: {formats[0]}]"
    )


def json_option(command: Command) -> Command:
    """``--json``, as the parameter ``as_json``, beside :func:`format_option`."""
    return click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(command)


def one_format(form: str | None, as_json: bool) -> str:
    """What ``--format`` and ``--json`` ask for together; a usage error where they contradict each other."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other")
    return "json" if as_json else form or "table"
