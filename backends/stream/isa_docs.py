"""docs/isa.md, made from the tables of the instruction set.

python -m flexc.backends.stream.isa_docs > docs/isa.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from enum import IntEnum

from flexc.backends.stream import encode, isa, record_text
from flexc.backends.stream.isa import FieldSpec
from flexc.backends.stream.isa_functions import FUNCTIONS


def isa_markdown() -> str:
    """The text of docs/isa.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The instruction set"
    yield ""
    yield "Made from the tables of `backends/stream/isa*.py` by `python -m flexc.backends.stream.isa_docs`;"
    yield "change it there. The machine itself is an assumption throughout (see docs/hardware.md)."
    yield from _body("Execution", isa)
    yield from ("", "## Opcodes", "")
    yield from _table(
        ("opcode", "code", "engine", "operands", "fields", "meaning"),
        (
            (
                f"`{opcode.name.lower()}`",
                str(opcode.value),
                spec.engine,
                " ".join(spec.operands),
                " ".join(spec.fields),
                spec.meaning,
            )
            for opcode, spec in isa.OPCODES.items()
        ),
    )
    yield from ("", f"## Fields of a record ({isa.RECORD.itemsize} bytes)", "")
    yield from _fields(isa.RECORD_FIELDS)
    yield from ("", f"Then {isa.DIMS} dimensions of {isa.DIM.itemsize} bytes:", "")
    yield from _fields(isa.DIM_FIELDS)
    yield from ("", f"and {isa.OPERANDS} operands of {isa.OPERAND.itemsize} bytes:", "")
    yield from _fields(isa.OPERAND_FIELDS)
    yield from ("", "## Codes", "")
    for kind in (isa.Space, isa.Format, isa.Addressing, isa.PeUse, isa.Rounding):
        yield f"- {kind.__name__}: {_members(kind)}."
    formats = ", ".join(f"{fmt.name.lower()} {bits}" for fmt, bits in isa.FORMAT_BITS.items())
    yield f"- Bits of an element: {formats}."
    yield from ("", "## Functions of the vector unit", "")
    yield from _table(
        ("function", "code", "sources", "immediates", "kind"),
        (
            (f"`{spec.name}`", str(code), str(spec.sources), " ".join(spec.immediates), spec.kind)
            for code, spec in enumerate(FUNCTIONS)
        ),
    )
    yield from ("", "## Lanes and units of a PE", "")
    yield from _table(
        ("mantissa bits", "lanes", "units"),
        (
            (f"{narrow} x {wide}", str(lanes), str(units))
            for (narrow, wide), (lanes, units) in isa.LANES_AND_UNITS.items()
        ),
    )
    yield from _body("Binary form", encode)
    yield from _body("Listing", record_text)


def _body(title: str, module: object) -> Iterator[str]:
    """A module's docstring after its first line, as a section."""
    text = inspect.getdoc(module) or ""
    yield from ("", f"## {title}", "")
    yield from text.split("\n", 2)[2].split("\n")


def _fields(fields: tuple[FieldSpec, ...]) -> Iterator[str]:
    return _table(
        ("field", "type", "entries", "unit", "meaning"),
        ((f"`{field.name}`", field.dtype, _entries(field), field.unit, field.meaning) for field in fields),
    )


def _entries(field: FieldSpec) -> str:
    return " x ".join(str(extent) for extent in field.shape) or "1"


def _members(kind: type[IntEnum]) -> str:
    return ", ".join(f"{member.value} {member.name.lower()}" for member in kind)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    print(isa_markdown(), end="")
