"""Where the elements of boxes lie in flat memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def box_offsets(sizes: Sequence[int], strides: Sequence[int], steps: Sequence[int]) -> NDArray[np.int64]:
    """Of a box of ``sizes``, ``steps`` apart along axes of ``strides``, in row-major order."""
    return sums_of(
        [np.arange(size) * (stride * step) for size, stride, step in zip(sizes, strides, steps, strict=True)]
    )


def sums_of(of_axes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The sums of an entry of each axis, in row-major order."""
    sums = np.zeros(1, np.int64)
    for entries in of_axes:
        sums = np.add.outer(sums, entries).reshape(-1)
    return sums
