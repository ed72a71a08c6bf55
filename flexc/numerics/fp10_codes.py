"""The storage code of FP10A: a sign, 5 exponent bits and 4 fraction bits in the low bits of a uint16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FRACTION_BITS = 4
_DROPPED_BITS = 23 - _FRACTION_BITS
# Exponent field 0 is the value 0 alone; field 1 is 2^-14.
_BIAS_DIFFERENCE = 127 - 15


def pack_fp10(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The codes of fp32 values that FP10A holds.

    Raises ValueError for a value that it does not hold, among them -0.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(x.shape)
    field = (bits >> np.uint32(23) & np.uint32(0xFF)).astype(np.int32) - _BIAS_DIFFERENCE
    exact = (bits & np.uint32((1 << _DROPPED_BITS) - 1)) == 0
    representable = np.where(bits == 0, True, exact & (field >= 1) & (field <= 30))
    if not representable.all():
        index = tuple(int(i) for i in np.argwhere(~representable)[0])
        raise ValueError(f"FP10A does not hold {x[index]!r} at index {list(index)}")
    fraction = bits >> np.uint32(_DROPPED_BITS) & np.uint32((1 << _FRACTION_BITS) - 1)
    code = (
        bits >> np.uint32(31) << np.uint32(9)
        | np.maximum(field, 0).astype(np.uint32) << np.uint32(4)
        | fraction
    )
    codes: NDArray[np.uint16] = code.astype(np.uint16)
    return codes


def unpack_fp10(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The fp32 values of FP10A codes.

    Raises ValueError for a code that no value has: exponent field 0 (but for code 0) or 31, or over ten bits.
    """
    words = codes.astype(np.uint32)
    field = words >> np.uint32(_FRACTION_BITS) & np.uint32(31)
    valid = (words == 0) | ((field >= 1) & (field <= 30) & (words < 1 << 10))
    if not valid.all():
        index = tuple(int(i) for i in np.argwhere(~valid)[0])
        raise ValueError(f"no FP10A value has code {int(codes[index])} at index {list(index)}")
    sign = words >> np.uint32(9) << np.uint32(31)
    exponent = field + np.uint32(_BIAS_DIFFERENCE) << np.uint32(23)
    fraction = (words & np.uint32(15)) << np.uint32(_DROPPED_BITS)
    return np.where(words == 0, np.uint32(0), sign | exponent | fraction).astype(np.uint32).view(np.float32)
