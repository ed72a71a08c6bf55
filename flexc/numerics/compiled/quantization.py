"""Quantization to nearest in groups along one axis (numerics specification, section 1).

As :mod:`flexc.numerics.quantization_along_axis` does it: adding 1.5 * 2^23 units of a group rounds to whole
units. A group's elements are read a second time from the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.compiled.jit import bits_of, fp32_of, kernel, part

F32 = np.float32
I32 = np.int32
_FRACTION_BITS = 23
_ONE_AND_A_HALF = I32(1 << 22)
_LINE = 1024


def quantize_groups(
    source: NDArray[np.float32], extent: int, magnitude_bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The exponents [outer, groups, inner] and values of contiguous [outer, length, inner].

    Groups of ``extent`` lie along the middle axis. Values are right where the exponents leave
    the constants and the units normal numbers; of a NaN or an infinity the exponent is 255.
    """
    outer, length, inner = source.shape
    values = aligned_empty(source.shape, np.float32)
    exponent = np.empty((outer, -(-length // extent), inner), np.uint8)
    p = np.int32(magnitude_bits)
    if inner == 1:
        _quantize_runs(source.reshape(-1), length, extent, p, exponent.reshape(-1), values.reshape(-1))
    else:
        _quantize_lines(
            source.reshape(-1), inner, length, extent, p, exponent.reshape(-1), values.reshape(-1)
        )
    return exponent, values


@part
def _constant(e: Any, p: Any) -> Any:
    biased = max(e, I32(p + I32(2)))
    return fp32_of(I32(I32(I32(biased + I32(24)) - p) << _FRACTION_BITS) | _ONE_AND_A_HALF)


@part
def _limit(e: Any, p: Any) -> Any:
    biased = max(e, I32(p + I32(2)))
    unit = fp32_of(I32(I32(I32(biased + I32(1)) - p) << _FRACTION_BITS))
    return unit * F32((1 << p) - 1)


@kernel
def _quantize_runs(source: Any, length: Any, extent: Any, p: Any, exponent: Any, values: Any) -> None:
    """Groups are runs of neighbours in rows of ``length``."""
    group = 0
    for row in range(source.size // length):
        for first in range(row * length, (row + 1) * length, extent):
            stop = min(first + extent, (row + 1) * length)
            run, rounded = source[first:stop], values[first:stop]
            largest = I32(0)
            for i in range(run.size):
                largest = max(largest, bits_of(abs(run[i])))
            e = I32(largest >> _FRACTION_BITS)
            exponent[group] = e
            group += 1
            constant, limit = _constant(e, p), _limit(e, p)
            for i in range(run.size):
                rounded[i] = min(max((run[i] + constant) - constant, -limit), limit)


@kernel
def _quantize_lines(
    source: Any, inner: Any, length: Any, extent: Any, p: Any, exponent: Any, values: Any
) -> None:
    """Groups run across lines of ``inner``; a part of the lines is done at a time."""
    largest = np.empty(_LINE, np.int32)
    constants, limits = np.empty(_LINE, np.float32), np.empty(_LINE, np.float32)
    group = 0
    for row in range(source.size // (length * inner)):
        for first in range(row * length, (row + 1) * length, extent):
            stop = min(first + extent, (row + 1) * length)
            for start in range(0, inner, _LINE):
                count = min(_LINE, inner - start)
                largest[:count] = 0
                for line in range(first, stop):
                    x = source[line * inner + start : line * inner + start + count]
                    for i in range(count):
                        largest[i] = max(largest[i], bits_of(abs(x[i])))
                for i in range(count):
                    e = I32(largest[i] >> _FRACTION_BITS)
                    exponent[group * inner + start + i] = e
                    constants[i], limits[i] = _constant(e, p), _limit(e, p)
                for line in range(first, stop):
                    x = source[line * inner + start : line * inner + start + count]
                    y = values[line * inner + start : line * inner + start + count]
                    for i in range(count):
                        y[i] = min(max((x[i] + constants[i]) - constants[i], -limits[i]), limits[i])
            group += 1
