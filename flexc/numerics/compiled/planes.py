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

from flexc.numerics.compiled.jit import fp32_of, kernel, part

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
    found = _rows(planes.mantissa_bits)(
        planes.mantissa,
        planes.mantissa_base,
        planes.exponent,
        planes.exponent_base,
        box.walk,
        box.mantissa_stride,
        box.table,
        box.bounds,
        values,
    )
    return values, found


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
    found = _panels(planes.mantissa_bits)(
        planes.mantissa,
        planes.mantissa_base,
        planes.exponent,
        planes.exponent_base,
        box.walk,
        box.mantissa_stride,
        box.table,
        box.bounds,
        taps,
        columns,
        panels,
    )
    return panels, found


@part
def _unit(exponent: Any, bits: Any) -> Any:
    """2^(E - 127 - (bits - 2)), a subnormal where it has to be."""
    biased = I32(exponent - I32(bits - 2))
    if biased > 0:
        return fp32_of(I32(biased << _FRACTION_BITS))
    return fp32_of(I32(I32(1) << I32(biased + I32(_FRACTION_BITS - 1))))


@part
def _step(counters: Any, walk: Any, places: Any) -> None:
    """Go to the next row."""
    for d in range(counters.size - 1, -1, -1):
        counters[d] += 1
        places[0] += walk[1, d]
        places[1] += walk[2, d]
        places[2] += walk[3, d]
        if counters[d] < walk[0, d]:
            return
        counters[d] = 0
        places[0] -= walk[0, d] * walk[1, d]
        places[1] -= walk[0, d] * walk[2, d]
        places[2] -= walk[0, d] * walk[3, d]


def _reader(bits: int) -> Any:
    """The signed mantissa at an address in bits."""
    if bits == 4:

        def read(plane: Any, place: Any) -> Any:
            nibble = I32(plane[place >> 3]) >> I32(place & 4)
            return I32(I32(I32(nibble & I32(15)) ^ I32(8)) - I32(8))

    elif bits == 8:

        def read(plane: Any, place: Any) -> Any:
            return I32(np.int8(plane[place >> 3]))

    else:

        def read(plane: Any, place: Any) -> Any:
            low, high = I32(plane[place >> 3]), I32(np.int8(plane[(place >> 3) + 1]))
            return I32(I32(high << I32(8)) | low)

    return part(read)


@cache
def _rows(bits: int) -> Any:
    """A kernel that writes rows; what it captures are constants, so compiled code is found again."""
    read = _reader(bits)

    def fill(
        mantissa: Any,
        mantissa_base: Any,
        exponent: Any,
        exponent_base: Any,
        walk: Any,
        stride: Any,
        table: Any,
        bounds: Any,
        values: Any,
    ) -> Any:
        counters = np.zeros(walk.shape[1], np.int64)
        places = np.array([mantissa_base, exponent_base, 0], np.int64)
        length = bounds[-1]
        least, largest = I32(_NONE), I32(0)
        for row in range(values.size // length):
            first = 0
            for end in bounds:
                e = I32(exponent[(places[1] + table[places[2] + first]) >> 3])
                least = min(least, e if e > 0 else I32(_NONE))
                largest = max(largest, e)
                unit = _unit(e, bits)
                target = values[row * length + first : row * length + end]
                start = places[0] + first * stride
                if stride == bits and bits == 8:
                    source = mantissa[start >> 3 : (start >> 3) + target.size]
                    for i in range(target.size):
                        target[i] = unit * np.float32(np.int8(source[i]))
                else:
                    for i in range(target.size):
                        target[i] = unit * np.float32(read(mantissa, start + i * stride))
                first = end
            _step(counters, walk, places)
        return least, largest

    return kernel(fill)


@cache
def _panels(bits: int) -> Any:
    """A kernel that writes rows as columns of panels."""
    read = _reader(bits)

    def fill(
        mantissa: Any,
        mantissa_base: Any,
        exponent: Any,
        exponent_base: Any,
        walk: Any,
        stride: Any,
        table: Any,
        bounds: Any,
        taps: Any,
        columns: Any,
        panels: Any,
    ) -> Any:
        counters = np.zeros(walk.shape[1], np.int64)
        places = np.array([mantissa_base, exponent_base, 0], np.int64)
        width = panels.shape[3]
        flat = panels.reshape(-1)
        least, largest = I32(_NONE), I32(0)
        for batch in range(panels.shape[0]):
            for tap in range(taps):
                for column in range(columns):
                    panel = (batch * panels.shape[1] + column // width) * panels.shape[2]
                    first = 0
                    for end in bounds:
                        e = I32(exponent[(places[1] + table[places[2] + first]) >> 3])
                        least = min(least, e if e > 0 else I32(_NONE))
                        largest = max(largest, e)
                        unit = _unit(e, bits)
                        start = places[0] + first * stride
                        row = panel + first * taps + tap * (end - first)
                        at = row * width + column % width
                        for i in range(end - first):
                            flat[at + i * width] = unit * np.float32(read(mantissa, start + i * stride))
                        first = end
                    _step(counters, walk, places)
        return least, largest

    return kernel(fill)
