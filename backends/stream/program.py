"""A program for the machine: records, symbols, initial data and the limits it was made for.

Everything the simulators know of a compiled graph is in a :class:`Stream`. Its records carry addresses and
strides; the names in it place inputs and weights in DRAM and tell which part of DRAM is which result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import Format

SymbolKind: TypeAlias = Literal["input", "output", "weight", "intermediate"]
SYMBOL_KINDS: tuple[SymbolKind, ...] = get_args(SymbolKind)


@dataclass(frozen=True)
class SymbolPlane:
    """One plane of a tensor in DRAM: element ``i`` is at bit ``8 * address_bytes + sum(stride_bits * i)``.

    ``shape`` is logical: that of the tensor for plain values and mantissas, of its groups for exponents.
    ``size_bytes`` covers the plane with its padding.
    """

    format: Format
    address_bytes: int
    size_bytes: int
    shape: tuple[int, ...]
    stride_bits: tuple[int, ...]


@dataclass(frozen=True)
class Symbol:
    """A named tensor in DRAM: one plane, or the mantissas and exponents of a block-floating-point tensor.

    ``tile`` and ``mantissa_bits`` are given for the latter alone. ``complete_at`` is the number of records
    that have to be done before the tensor is whole (0: before the program starts); after it, and before its
    memory is used again, it can be read. Outputs stay whole until the end.
    """

    name: str
    kind: SymbolKind
    shape: tuple[int, ...]
    planes: tuple[SymbolPlane, ...]
    complete_at: int = 0
    tile: tuple[int, ...] | None = None
    mantissa_bits: int | None = None


@dataclass(frozen=True)
class InitialData:
    """Bytes that are in DRAM before the program starts (uint8, one-dimensional)."""

    address_bytes: int
    content: NDArray[np.uint8]


@dataclass(frozen=True)
class MachineLimits:
    """The machine a stream was made for, as far as addresses go; buffers are those of one core."""

    name: str
    cores: int
    operand_buffer_bytes: int
    held_buffer_bytes: int
    psum_buffer_bytes: int
    dram_bytes: int


@dataclass(frozen=True)
class GroupRange:
    """Scheduled group ``index``: the records from ``first_record`` up to, not including, ``end_record``."""

    index: int
    label: str
    first_record: int
    end_record: int


@dataclass(frozen=True)
class Stream:
    """A whole program. ``records`` is one-dimensional, of dtype ``isa.RECORD``.

    ``complete_at`` of a symbol counts static records outside of all loops.
    """

    records: NDArray[Any]
    symbols: tuple[Symbol, ...]
    initial: tuple[InitialData, ...]
    machine: MachineLimits
    groups: tuple[GroupRange, ...]
