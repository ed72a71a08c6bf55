"""Dequantizing boxes of mantissas and exponents that lie in memory at any strides of bits.

The elements of a box are rows along an innermost dimension; the others are walked as an odometer runs. Rows
are cut into pieces whose elements share an exponent: ``bounds`` are the ends of the pieces, and the exponent
of a piece is ``table`` bits further than the strides say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.compiled.jit import UINT, fp32_of, kernel, part

I32 = np.int32
_FRACTION_BITS = 23
_NONE = 256

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class BoxRows:
    """A box: ``extents`` of the dimensions around a row, and strides of both planes (bits) and of the table.

    ``walk`` is int64 [4, dimensions]: extents, and the strides of mantissas, exponents and ``table``.
    ``mantissa_stride`` is that from element to element of a row.
    """

    walk: Offsets
    mantissa_stride: int
    table: Offsets
    bounds: Offsets

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.walk[0].prod())

    @property
    def length(self) -> int:
        """The elements of a row."""
        return int(self.bounds[-1])


@dataclass(frozen=True)
class Planes:
    """Two flat arrays of bytes, and the address of a box's first mantissa and exponent in bits.

    A mantissa has 4, 8 or 16 bits, its sign included; an exponent has 8.
    """

    mantissa: NDArray[np.uint8]
    mantissa_base: int
    mantissa_bits: int
    exponent: NDArray[np.uint8]
    exponent_base: int


def dequantize_rows(planes: Planes, box: BoxRows, dtype: Any) -> tuple[NDArray[Any], tuple[int, int]]:
    """The values [rows * length] in fp32 or fp64, exact where no exponent is 255.

    Beside them the least exponent above 0 and the largest; (256, 0) without any.
    """
    values = np.empty(box.rows * box.length, dtype)
    return values, _fill(planes, box, values, ())


def dequantize_panels(
    planes: Planes, box: BoxRows, taps: int, columns: int, width: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Panels [batch, ceil(columns / width), taps * length, width] of rows [batch, taps, columns], filled up
    with zeros, and the range of exponents.

    The depth of a panel has pieces, in each piece the taps, in each tap the piece's elements.
    """
    batch = box.rows // (taps * columns)
    shape = (batch, -(-columns // width), taps * box.length, width)
    panels = np.zeros(shape, np.float32) if columns % width else np.empty(shape, np.float32)
    return panels, _fill(planes, box, panels.reshape(-1), (taps, columns, width, taps * box.length))


def _fill(planes: Planes, box: BoxRows, target: NDArray[Any], sizes: tuple[int, ...]) -> tuple[int, int]:
    """Dequantize a box to flat ``target``, in panels of ``sizes`` if there are any; its exponents' range."""
    found: tuple[int, int] = _filler(planes.mantissa_bits, bool(sizes))(
        planes.mantissa,
        planes.mantissa_base,
        planes.exponent,
        planes.exponent_base,
        box.walk,
        box.mantissa_stride,
        box.table,
        box.bounds,
        target,
        sizes,
    )
    return found


@part
def _unit(exponent: Any, bits: Any) -> Any:
    """2^(E - 127 - (bits - 2)), a subnormal where it has to be."""
    biased = I32(exponent - I32(bits - 2))
    if biased > 0:
        return fp32_of(I32(biased << _FRACTION_BITS))
    return fp32_of(I32(I32(1) << I32(biased + I32(_FRACTION_BITS - 1))))


@part
def _next_line(counters: Any, walk: Any, places: Any) -> None:
    """Go to the next run of rows along the last dimension of a walk."""
    going = True
    for back in range(2, walk.shape[1] + 1):
        if going:
            d = walk.shape[1] - back
            counters[d] += 1
            turns = 0 if counters[d] < walk[0, d] else walk[0, d]
            going = turns > 0
            if going:
                counters[d] = 0
            for plane in range(3):
                places[plane] += (1 - turns) * walk[plane + 1, d]


@part
def _read(plane: Any, place: Any, bits: Any) -> Any:
    """The signed mantissa at an address in bits."""
    byte = UINT(place >> 3)
    if bits == 4:
        nibble = I32(plane[byte]) >> I32(place & 4)
        return I32(I32(I32(nibble & I32(15)) ^ I32(8)) - I32(8))
    if bits == 8:
        return I32(np.int8(plane[byte]))
    return I32(I32(I32(np.int8(plane[byte + UINT(1)])) << I32(8)) | I32(plane[byte]))


@part
def _read_run(plane: Any, byte: Any, unit: Any, values: Any, at: Any, count: Any, bits: Any) -> None:
    """``count`` mantissas that lie one after the other from a byte on, times their unit."""
    if bits == 4:
        for i in range(UINT(count >> 1)):
            both = I32(plane[byte + i])
            low, high = I32(I32(both << 28) >> 28), I32(I32(both << 24) >> 28)
            values[at + UINT(2) * i] = unit * np.float32(low)
            values[at + UINT(2) * i + UINT(1)] = unit * np.float32(high)
        if count & 1:
            last = I32(I32(I32(plane[byte + UINT(count >> 1)]) << 28) >> 28)
            values[at + UINT(count - 1)] = unit * np.float32(last)
    elif bits == 8:
        for i in range(UINT(count)):
            values[at + i] = unit * np.float32(np.int8(plane[byte + i]))
    else:
        for i in range(UINT(count)):
            low, high = plane[byte + UINT(2) * i], plane[byte + UINT(2) * i + UINT(1)]
            values[at + i] = unit * np.float32(np.int16(low | np.int16(high) << 8))


@cache
def _filler(bits: int, in_panels: bool) -> Any:
    """A kernel that writes rows one after another, or as columns of panels.

    What it captures are constants, so compiled code is found again. ``target`` is flat; ``sizes`` are taps,
    columns, and the width and depth of a panel, or none.
    """

    def fill(
        mantissa: Any,
        mantissa_base: Any,
        exponent: Any,
        exponent_base: Any,
        walk: Any,
        stride: Any,
        table: Any,
        bounds: Any,
        target: Any,
        sizes: Any,
    ) -> Any:
        counters = np.zeros(walk.shape[1], np.int64)
        places = np.array([mantissa_base, exponent_base, 0], np.int64)
        length, in_line = bounds[-1], walk[0, -1]
        dense = stride == bits
        if in_panels:
            taps, columns, width, depth = sizes
            panels_of_block = (columns + width - 1) // width
        least, largest = I32(_NONE), I32(0)
        row = 0
        for _line in range(walk[0].prod() // in_line):
            of_m, of_e, of_table = places[0], places[1], places[2]
            for _row in range(in_line):
                first = 0
                if in_panels:
                    column, tap = row % columns, row // columns % taps
                    panel = row // (columns * taps) * panels_of_block + column // width
                for piece in range(bounds.size):
                    end = bounds[piece]
                    e = I32(exponent[UINT((of_e + table[UINT(of_table + first)]) >> 3)])
                    least = min(least, e if e > 0 else I32(_NONE))
                    largest = max(largest, e)
                    unit = _unit(e, bits)
                    start = of_m + first * stride
                    if in_panels:
                        at = (panel * depth + first * taps + tap * (end - first)) * width + column % width
                        for i in range(end - first):
                            value = unit * np.float32(_read(mantissa, start + i * stride, bits))
                            target[UINT(at + i * width)] = value
                    elif dense and start & 7 == 0:
                        at = row * length + first
                        _read_run(mantissa, UINT(start >> 3), unit, target, UINT(at), end - first, bits)
                    else:
                        at = row * length + first
                        for i in range(end - first):
                            value = unit * np.float32(_read(mantissa, start + i * stride, bits))
                            target[UINT(at + i)] = value
                    first = end
                row += 1
                of_m += walk[1, -1]
                of_e += walk[2, -1]
                of_table += walk[3, -1]
            _next_line(counters, walk, places)
        return least, largest

    return kernel(fill)
