"""The directory of a stream, all but its records and the bytes of initial data, as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from flexc.backends.stream.isa import Format
from flexc.backends.stream.program import (
    SYMBOL_KINDS,
    GroupRange,
    MachineLimits,
    Stream,
    Symbol,
    SymbolPlane,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Directory:
    """What the JSON text says; ``initial`` is (address, size) in bytes of each segment of initial data."""

    machine: MachineLimits
    symbols: tuple[Symbol, ...]
    groups: tuple[GroupRange, ...]
    initial: tuple[tuple[int, int], ...]


def directory_text(stream: Stream) -> str:
    """The JSON of a stream's directory, one text for one directory."""
    machine = stream.machine
    return _compact(
        {
            "machine": {
                "name": machine.name,
                "cores": machine.cores,
                "operand_buffer_bytes": machine.operand_buffer_bytes,
                "held_buffer_bytes": machine.held_buffer_bytes,
                "psum_buffer_bytes": machine.psum_buffer_bytes,
                "dram_bytes": machine.dram_bytes,
            },
            "symbols": [_symbol_fields(symbol) for symbol in stream.symbols],
            "groups": [
                {
                    "index": group.index,
                    "label": group.label,
                    "first_record": group.first_record,
                    "end_record": group.end_record,
                }
                for group in stream.groups
            ],
            "initial": [[segment.address_bytes, int(segment.content.size)] for segment in stream.initial],
        }
    )


def parse_directory(text: str) -> Directory:
    """The directory that a text says. Raises ValueError where it says anything else."""
    fields = _Fields(json.loads(text), "directory", ("machine", "symbols", "groups", "initial"))
    limits = ("cores", "operand_buffer_bytes", "held_buffer_bytes", "psum_buffer_bytes", "dram_bytes")
    machine = _Fields(fields.value("machine"), "machine", ("name", *limits))
    return Directory(
        MachineLimits(machine.text("name"), *(machine.natural(name) for name in limits)),
        fields.each("symbols", _parse_symbol),
        fields.each("groups", _parse_group),
        tuple((pair[0], pair[1]) for pair in fields.each("initial", lambda pair: _naturals(pair, 2))),
    )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _symbol_fields(symbol: Symbol) -> dict[str, object]:
    return {
        "name": symbol.name,
        "kind": symbol.kind,
        "shape": symbol.shape,
        "planes": [
            {
                "format": plane.format.name,
                "address_bytes": plane.address_bytes,
                "size_bytes": plane.size_bytes,
                "shape": plane.shape,
                "stride_bits": plane.stride_bits,
            }
            for plane in symbol.planes
        ],
        "complete_at": symbol.complete_at,
        "tile": symbol.tile,
        "mantissa_bits": symbol.mantissa_bits,
    }


def _parse_symbol(value: object) -> Symbol:
    names = ("name", "kind", "shape", "planes", "complete_at", "tile", "mantissa_bits")
    fields = _Fields(value, "symbol", names)
    kind = next((kind for kind in SYMBOL_KINDS if kind == fields.value("kind")), None)
    if kind is None:
        raise ValueError(f"symbol of kind {fields.value('kind')!r}")
    block = fields.value("tile") is not None
    planes = fields.each("planes", _parse_plane)
    if block != (fields.value("mantissa_bits") is not None) or len(planes) != 1 + block:
        raise ValueError(f"tile, mantissa_bits and planes of '{fields.text('name')}' do not fit together")
    return Symbol(
        fields.text("name"),
        kind,
        _naturals(fields.value("shape")),
        planes,
        fields.natural("complete_at"),
        _naturals(fields.value("tile")) if block else None,
        fields.natural("mantissa_bits") if block else None,
    )


def _parse_plane(value: object) -> SymbolPlane:
    fields = _Fields(value, "plane", ("format", "address_bytes", "size_bytes", "shape", "stride_bits"))
    if fields.value("format") not in Format.__members__:
        raise ValueError(f"plane of format {fields.value('format')!r}")
    shape = _naturals(fields.value("shape"))
    return SymbolPlane(
        Format[fields.text("format")],
        fields.natural("address_bytes"),
        fields.natural("size_bytes"),
        shape,
        _integers(fields.value("stride_bits"), len(shape)),
    )


def _parse_group(value: object) -> GroupRange:
    fields = _Fields(value, "group", ("index", "label", "first_record", "end_record"))
    return GroupRange(
        fields.natural("index"),
        fields.text("label"),
        fields.natural("first_record"),
        fields.natural("end_record"),
    )


def _integers(value: object, length: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int for n in value):
        raise ValueError(f"{value!r} instead of a list of integers")
    if length is not None and len(value) != length:
        raise ValueError(f"{len(value)} integers instead of {length}")
    return tuple(value)


def _naturals(value: object, length: int | None = None) -> tuple[int, ...]:
    integers = _integers(value, length)
    if min(integers, default=0) < 0:
        raise ValueError(f"{value!r} instead of natural numbers")
    return integers


class _Fields:
    """A JSON object that has exactly the given keys."""

    def __init__(self, value: Any, what: str, names: Iterable[str]) -> None:
        if not isinstance(value, dict) or set(value) != set(names):
            found = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{what} with {found} instead of {sorted(names)}")
        self._values = value
        self._what = what

    def value(self, name: str) -> object:
        return self._values[name]

    def text(self, name: str) -> str:
        value = self._values[name]
        if not isinstance(value, str):
            raise ValueError(f"{name} of {self._what} is {value!r} instead of a text")
        return value

    def natural(self, name: str) -> int:
        value = self._values[name]
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} of {self._what} is {value!r} instead of a natural number")
        return value

    def each(self, name: str, parse: Callable[[object], T]) -> tuple[T, ...]:
        value = self._values[name]
        if not isinstance(value, list):
            raise ValueError(f"{name} of {self._what} is {value!r} instead of a list")
        return tuple(parse(item) for item in value)
