"""Making records: dimensions and operands as small dataclasses, packed into ``isa.RECORD`` at the end."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import (
    CORE_AXES,
    DIM,
    DIMS,
    IMMEDIATES,
    LOOP_LEVELS,
    NO_LIMIT,
    NO_SLOT,
    OPERAND,
    OPERANDS,
    RECORD,
    RECORD_FIELDS,
    Addressing,
    Format,
    Opcode,
)

_STRUCT_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i4": "i", "i8": "q", "f4": "f"}


def _struct_codes(dtype: np.dtype[Any]) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return _struct_codes(base) * int(np.prod(shape))
    if dtype.fields is not None:
        assert dtype.names is not None
        return "".join(_struct_codes(dtype.fields[name][0]) for name in dtype.names)
    return _STRUCT_CODES[dtype.str[1:]]


def _packer(dtype: np.dtype[Any]) -> struct.Struct:
    return struct.Struct("<" + _struct_codes(dtype))


_DIM = _packer(DIM)
_OPERAND = _packer(OPERAND)
_HEADER = _packer(np.dtype(RECORD.descr[: len(RECORD_FIELDS)]))
assert _HEADER.size + DIMS * _DIM.size + OPERANDS * _OPERAND.size == RECORD.itemsize

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

    def pack(self) -> bytes:
        """The dimension as it is stored."""
        return _DIM.pack(self.count, self.start, self.step, self.limit, *self.loop, *self.core)


@dataclass(frozen=True)
class Operand:
    """One operand: the fields of ``isa.OPERAND_FIELDS``; ``stride`` has one entry a used dimension."""

    slot: int
    format: Format
    addressing: Addressing
    stride: tuple[int, ...]
    offset: int = 0

    def pack(self) -> bytes:
        """The operand as it is stored."""
        unused = _NO_STRIDES[len(self.stride) :]
        return _OPERAND.pack(self.slot, self.format, self.addressing, self.offset, *self.stride, *unused)


_UNUSED_DIMS = bytes(_DIM.size * DIMS)
_UNUSED_OPERAND = Operand(NO_SLOT, Format.F32, Addressing.LOCAL, ()).pack()


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

    def pack(self) -> bytes:
        """The record as it is stored; the absent dimensions and operands as what means none."""
        pe = (*self.pe, *((0, 0, 0),) * (2 - len(self.pe)))
        header = _HEADER.pack(
            self.opcode,
            self.function,
            len(self.dims),
            self.reduced_dims,
            self.axis,
            *self.core_grid,
            *self.immediate,
            *(0.0,) * (IMMEDIATES - len(self.immediate)),
            self.immediate_int,
            self.count,
            self.slot,
            self.space,
            self.per_core,
            self.keep,
            self.depth,
            self.address_bytes,
            self.size_bytes,
            self.a_group,
            self.b_group,
            *self.a_axis,
            *self.b_axis,
            *self.whole_axis,
            self.init_loops,
            self.stream,
            *self.lane,
            *self.unit,
            *pe[0],
            *pe[1],
            self.seed,
            self.stream_number,
        )
        dims = [dim.pack() for dim in self.dims]
        operands = [_UNUSED_OPERAND if one is None else one.pack() for one in self.operands]
        return b"".join(
            (
                header,
                *dims,
                _UNUSED_DIMS[len(dims) * _DIM.size :],
                *operands,
                *(_UNUSED_OPERAND,) * (OPERANDS - len(operands)),
            )
        )


@dataclass
class RecordList:
    """The records of a program as they are made."""

    packed: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.packed) // RECORD.itemsize

    def append(self, record: Record) -> None:
        """Adds one record at the end."""
        self.packed += record.pack()

    def array(self) -> NDArray[Any]:
        """The records as one structured array."""
        return np.frombuffer(bytes(self.packed), RECORD)
