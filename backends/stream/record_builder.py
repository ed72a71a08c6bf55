"""Making records: dimensions and operands as small dataclasses, packed into ``isa.RECORD`` at the end."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import (
    CORE_AXES,
    DIMS,
    IMMEDIATES,
    LOOP_LEVELS,
    NO_LIMIT,
    NO_SLOT,
    OPERANDS,
    RECORD,
    Addressing,
    Format,
    Opcode,
)

_NO_LOOPS = (0,) * LOOP_LEVELS
_NO_CORES = (0,) * CORE_AXES
_NO_STRIDES = (0,) * DIMS


@dataclass(frozen=True)
class Dim:
    """One dimension of a box: the fields of ``isa.DIM_FIELDS``."""

    count: int
    start: int = 0
    step: int = 1
    limit: int = NO_LIMIT
    loop: tuple[int, ...] = _NO_LOOPS
    core: tuple[int, ...] = _NO_CORES

    def flat(self) -> tuple[int, ...]:
        """The fields in storage order."""
        return (self.count, self.start, self.step, self.limit, *self.loop, *self.core)


@dataclass(frozen=True)
class Operand:
    """One operand: the fields of ``isa.OPERAND_FIELDS``; ``stride`` has one entry a used dimension."""

    slot: int
    format: Format
    addressing: Addressing
    stride: tuple[int, ...]
    offset: int = 0

    def flat(self) -> tuple[int, ...]:
        """The fields in storage order."""
        return (
            self.slot,
            self.format,
            self.addressing,
            self.offset,
            *self.stride,
            *_NO_STRIDES[len(self.stride) :],
        )


_UNUSED_DIM = Dim(0, 0, 0, 0).flat()
_UNUSED_OPERAND = Operand(NO_SLOT, Format.F32, Addressing.LOCAL, ()).flat()


@dataclass(frozen=True)
class Record:
    """One record; field meanings are those of ``isa.RECORD_FIELDS``."""

    opcode: Opcode
    dims: Sequence[Dim] = ()
    operands: Sequence[Operand | None] = ()
    function: int = 0
    reduced_dims: int = 0
    axis: int = 0
    core_grid: tuple[int, ...] = (0, 0, 0)
    immediate: tuple[float, ...] = ()
    immediate_int: int = 0
    count: int = 0
    slot: int = 0
    space: int = 0
    per_core: int = 0
    keep: int = 0
    depth: int = 0
    address_bytes: int = 0
    size_bytes: int = 0
    a_group: int = 0
    b_group: int = 0
    a_axis: tuple[int, int] = (0, 0)
    b_axis: tuple[int, int] = (0, 0)
    whole_axis: tuple[int, int] = (0, 0)
    init_loops: int = 0
    stream: int = 0
    lane: tuple[int, int] = (0, 0)
    unit: tuple[int, int] = (0, 0)
    pe: tuple[tuple[int, int, int], ...] = ()
    seed: int = 0
    stream_number: int = 0

    def flat(self) -> Iterator[float]:
        """The fields in storage order; the absent dimensions and operands as what means none."""
        immediate = (*self.immediate, *(0.0,) * (IMMEDIATES - len(self.immediate)))
        pe = (*self.pe, *((0, 0, 0),) * (2 - len(self.pe)))
        yield from (self.opcode, self.function, len(self.dims), self.reduced_dims, self.axis)
        yield from (*self.core_grid, *immediate, self.immediate_int, self.count, self.slot, self.space)
        yield from (self.per_core, self.keep, self.depth, self.address_bytes, self.size_bytes)
        yield from (self.a_group, self.b_group, *self.a_axis, *self.b_axis, *self.whole_axis)
        yield from (self.init_loops, self.stream, *self.lane, *self.unit, *pe[0], *pe[1])
        yield from (self.seed, self.stream_number)
        for dim in self.dims:
            yield from dim.flat()
        yield from _UNUSED_DIM * (DIMS - len(self.dims))
        for operand in self.operands:
            yield from _UNUSED_OPERAND if operand is None else operand.flat()
        yield from _UNUSED_OPERAND * (OPERANDS - len(self.operands))


_STRUCT_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q", "f4": "f"}


def _struct_codes(dtype: np.dtype[Any]) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return _struct_codes(base) * int(np.prod(shape))
    if dtype.fields is not None:
        assert dtype.names is not None
        return "".join(_struct_codes(dtype.fields[name][0]) for name in dtype.names)
    return _STRUCT_CODES[dtype.str[1:]]


_PACKER = struct.Struct("<" + _struct_codes(RECORD))
assert _PACKER.size == RECORD.itemsize


@dataclass
class RecordList:
    """The records of a program as they are made."""

    packed: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.packed) // RECORD.itemsize

    def append(self, record: Record) -> None:
        """Adds one record at the end."""
        self.packed += _PACKER.pack(*record.flat())

    def array(self) -> NDArray[Any]:
        """The records as one structured array."""
        return np.frombuffer(bytes(self.packed), RECORD)
