"""User errors: one message with a code, a place, the shapes and a hint.

A :class:`CompileError` is something the user can act on and ends the command with exit status 1.
Anything else that escapes is a bug and keeps its traceback.

Codes: ``FX1xx`` loading, ``FX2xx`` importing ops and shapes, ``FX3xx`` policies and options, ``FX4xx``
mapping, scheduling and allocation, ``FX5xx`` artefacts and running, ``FX6xx`` numerics at run time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


def printable(text: str, keep: str = "") -> str:
    """A text for a terminal: control codes, marks of direction and the like are escaped, as in Python.

    Names come from models, which may hold anything. Characters in ``keep`` stay.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


@dataclass(frozen=True)
class Place:
    """Where an error is: the file and, where there is one, the ONNX node (index in graph order)."""

    file: str = ""
    node_name: str = ""
    op_type: str = ""
    node_index: int | None = None

    def describe_node(self) -> str:
        """``'layer2.0.conv1' (Conv, node 17)``, or the empty string without a node."""
        if self.node_index is None and not self.node_name:
            return ""
        inside = ", ".join(
            part
            for part in (self.op_type, "" if self.node_index is None else f"node {self.node_index}")
            if part
        )
        return f"'{printable(self.node_name)}'" + (f" ({inside})" if inside else "")


@dataclass(frozen=True)
class Diagnostic:
    """One problem: ``error[code]: node: message``, an optional detail (shapes, values) and a hint."""

    code: str
    message: str
    place: Place = Place()
    detail: str = ""
    hint: str = ""
    severity: str = "error"

    def render(self) -> str:
        """The text a user reads, without a trailing newline."""
        node = self.place.describe_node()
        lines = [f"{self.severity}[{self.code}]: " + (f"{node}: " if node else "") + self.message]
        where = ", ".join(part for part in (self.place.file, self.detail) if part)
        if where:
            lines.append(f"  --> {where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return printable("\n".join(lines), keep="\n")


class CompileError(Exception):
    """One or more user errors, reported together."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        """Raises ValueError when there is nothing to report."""
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        if not found:
            raise ValueError("a CompileError needs at least one diagnostic")
        self.diagnostics: tuple[Diagnostic, ...] = found
        super().__init__("\n".join(d.render() for d in found))


def error(
    code: str, message: str, *, place: Place = Place(), detail: str = "", hint: str = ""
) -> CompileError:
    """A :class:`CompileError` holding one diagnostic; the caller raises it."""
    return CompileError(Diagnostic(code, message, place, detail, hint))
