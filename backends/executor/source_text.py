"""Python text of calls, literals and comments, whatever the names in a model hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from flexc.ir.attributes import Literal

MAX_LINE = 110
INDENT = "    "


def literal_text(value: Literal) -> str:
    """``value`` as Python; reals are fp32 attributes and get the fewest digits that give their fp32 again."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, float):
        return repr(float(str(np.float32(value))))
    return repr(value)


def printable(text: str) -> str:
    """``text`` on one line, without quotes and backslashes, as comments and docstrings can hold it."""
    return "".join(c if c.isprintable() and c not in '"\\' else f"<{ord(c):x}>" for c in text)


def call_lines(head: str, function: str, arguments: Sequence[str], *, depth: int) -> list[str]:
    """``head function(arguments)`` at ``depth`` indents; arguments that do not fit get lines of their own."""
    indent = INDENT * depth
    line = f"{indent}{head}{function}({', '.join(arguments)})"
    if len(line) <= MAX_LINE:
        return [line]
    lines = [f"{indent}{head}{function}("]
    row = indent + INDENT + arguments[0]
    for argument in arguments[1:]:
        if len(row) + len(argument) + 3 > MAX_LINE:
            lines.append(f"{row},")
            row = indent + INDENT + argument
        else:
            row += f", {argument}"
    return [*lines, row, f"{indent})"]
