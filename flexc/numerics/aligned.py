"""Arrays that start on a cache line: wide stores that straddle two lines take twice as long."""

from __future__ import annotations

from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
_CACHE_LINE_BYTES = 64


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Scalar] | type[Scalar]) -> NDArray[Scalar]:
    """Like ``np.empty``, aligned to 64 bytes."""
    element: np.dtype[Any] = np.dtype(dtype)
    size = prod(shape) * element.itemsize
    memory = np.empty(size + _CACHE_LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE_BYTES
    aligned: NDArray[Scalar] = memory[start : start + size].view(element).reshape(shape)
    return aligned
