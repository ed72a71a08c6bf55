"""Types of options that several commands share."""

from __future__ import annotations

from typing import Any

import click


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
