"""The storage code of FP10A: sign, 5 exponent and 4 fraction bits in the low bits of a uint16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CODES = 1 << 10
_SIGN_BIT = 9
_FRACTION_BITS = 4
_DROPPED_BITS = 23 - _FRACTION_BITS
# Exponent field 0 is the value 0 alone; field 1 is 2^-14.
_BIAS_DIFFERENCE = 127 - 15
_MAGNITUDE = 0x7FFFFFFF
_BLOCK_ELEMENTS = 1 << 15


def value_of_each_code() -> NDArray[np.float32]:
    """The values [1024] of the codes; NaN for one that no value has."""
    codes = np.arange(_CODES, dtype=np.uint32)
    field = codes >> _FRACTION_BITS & 31
    magnitude = (codes & ((1 << _SIGN_BIT) - 1)) + (_BIAS_DIFFERENCE << _FRACTION_BITS)
    values = (codes >> _SIGN_BIT << 31 | magnitude << _DROPPED_BITS).view(np.float32)
    values[(field == 0) | (field == 31)] = np.nan
    values[0] = 0
    return values


_VALUES = value_of_each_code()


def pack_fp10(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The codes of fp32 values that FP10A holds.

    Raises ValueError for a value that it does not hold, among them -0.
    """
    dense = np.ascontiguousarray(x, np.float32).reshape(-1)
    codes = np.empty(dense.size, np.uint16)
    size = min(dense.size, _BLOCK_ELEMENTS)
    magnitude, sign, held = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.float32)
    for start in range(0, dense.size, _BLOCK_ELEMENTS):
        block = dense[start : start + _BLOCK_ELEMENTS]
        words = block.view(np.int32)
        code, bit, value = magnitude[: words.size], sign[: words.size], held[: words.size]
        np.bitwise_and(words, _MAGNITUDE, out=code)
        np.right_shift(code, _DROPPED_BITS, out=code)
        np.subtract(code, _BIAS_DIFFERENCE << _FRACTION_BITS, out=code)
        np.maximum(code, 0, out=code)
        np.right_shift(words, 31, out=bit)
        np.bitwise_and(bit, 1 << _SIGN_BIT, out=bit)
        np.bitwise_or(code, bit, out=code)
        np.copyto(codes[start : start + words.size], code, casting="unsafe")
        # What FP10A does not hold now has the code of another value, or a code without one, which is NaN.
        np.take(_VALUES, code, mode="clip", out=value)
        different = value != block
        if different.any():
            index = tuple(int(i) for i in np.unravel_index(start + int(different.argmax()), x.shape))
            raise ValueError(f"FP10A does not hold {x[index]!r} at index {list(index)}")
    return codes.reshape(x.shape)


def unpack_fp10(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The fp32 values of FP10A codes.

    Raises ValueError for a code that no value has: exponent field 0 (but for code 0) or 31, or over ten bits.
    """
    # Codes above ten bits are cut to the last, which no value has.
    values: NDArray[np.float32] = np.take(_VALUES, codes, mode="clip")
    if np.isnan(values.max(initial=0)):
        index = tuple(int(i) for i in np.argwhere(np.isnan(values))[0])
        raise ValueError(f"no FP10A value has code {int(codes[index])} at index {list(index)}")
    return values
