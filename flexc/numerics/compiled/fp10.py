"""FP10A in memory: runs of ten-bit codes, four to five bytes, from fp32 and back in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.compiled.jit import UINT, bits_of, kernel
from flexc.numerics.fp10_codes import value_of_each_code

I32 = np.int32
_CODE_BITS = 10
_DROPPED_BITS = 19
_DROPPED = I32((1 << _DROPPED_BITS) - 1)
_MAGNITUDE = I32(0x7FFFFFFF)
_CODES_OF_FIVE = 4
"""How many codes fill five bytes."""
# What an exponent field of fp32 is more than one of FP10A, and the ends of the latter, as codes.
_BIAS = I32((127 - 15) << 4)
_VALUES = value_of_each_code()
_LEAST, _LARGEST = I32(1 << 4), I32((31 << 4) - 1)


def pack_runs(values: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Contiguous values [runs, count] as bytes [runs, ceil(count * 10 / 8)]; None if FP10A lacks one."""
    runs, count = values.shape
    packed = np.empty((runs, -(-count * _CODE_BITS // 8)), np.uint8)
    return packed if _pack(values.reshape(-1), count, packed.reshape(-1)) else None


def unpack_runs(packed: NDArray[np.uint8], count: int) -> NDArray[np.float32] | None:
    """``count`` values of each of contiguous runs [runs, bytes]; None if a code has no value."""
    values = np.empty((len(packed), count), np.float32)
    return values if _unpack(packed.reshape(-1), packed.shape[1], count, values.reshape(-1)) else None


@kernel
def _pack(values: Any, count: Any, packed: Any) -> Any:
    wrong = I32(0)
    size = packed.size * count // values.size if values.size else 0
    codes = np.zeros(-(-count // _CODES_OF_FIVE) * _CODES_OF_FIVE, np.int64)
    for run in range(values.size // count):
        source = values[run * count : (run + 1) * count]
        for i in range(count):
            bits = bits_of(source[i])
            some = I32(bits != 0)
            magnitude = I32(I32(I32(bits & _MAGNITUDE) >> _DROPPED_BITS) - _BIAS)
            outside = I32(magnitude < _LEAST) | I32(magnitude > _LARGEST) | I32(I32(bits & _DROPPED) != 0)
            wrong = I32(wrong | I32(some & outside))
            sign = I32(I32(bits >> 22) & I32(512))
            codes[i] = I32(I32(magnitude | sign) & I32(-some))
        to = run * size
        for i in range(0, count, _CODES_OF_FIVE):
            at = UINT(i)
            five = codes[at] | codes[at + UINT(1)] << 10
            five |= codes[at + UINT(2)] << 20 | codes[at + UINT(3)] << 30
            for byte in range(min(5, (run + 1) * size - to)):
                packed[UINT(to + byte)] = np.uint8(five >> (8 * byte))
            to += 5
    return wrong == 0


@kernel
def _unpack(packed: Any, size: Any, count: Any, values: Any) -> Any:
    wrong = I32(0)
    for run in range(packed.size // size):
        source = packed[run * size : (run + 1) * size]
        target = values[run * count : (run + 1) * count]
        for i in range(count):
            bit = UINT(i) * UINT(_CODE_BITS)
            at = bit >> UINT(3)
            pair = I32(I32(source[at]) | I32(I32(source[at + UINT(1)]) << 8))
            value = _VALUES[UINT(I32(pair >> I32(bit & UINT(7))) & I32(1023))]
            wrong = I32(wrong | I32(value != value))
            target[UINT(i)] = value
    return wrong == 0
