"""Sums, means and maxima over any axes (numerics specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.vector import lane_sum_over_axis

NEGATIVE_ZERO_BITS = np.int32(-(2**31))


def reduce_sum(x: Float32Array, *, axes: Sequence[int], keepdims: bool = False) -> Float32Array:
    """The lane sum over the positions of the axes in row-major order; without axes, x itself.

    Raises numpy.exceptions.AxisError for an axis out of range, TypeError when x is not fp32.
    """
    x = np.asarray(x)
    require_float32("reduce_sum", x)
    reduced = normalize_axes(axes, x.ndim)
    if not reduced:
        return x
    total = lane_sum_over_axis(merge_axes_first(x, reduced), axis=0)
    return np.expand_dims(total, reduced) if keepdims else total


def reduce_mean(x: Float32Array, *, axes: Sequence[int], keepdims: bool = False) -> Float32Array:
    """RN32(reduce_sum / RN32(count)). Raises as :func:`reduce_sum`."""
    x = np.asarray(x)
    total = reduce_sum(x, axes=axes, keepdims=keepdims)
    count = np.prod([x.shape[axis] for axis in normalize_axes(axes, x.ndim)], dtype=np.int64)
    with np.errstate(all="ignore"):
        return np.divide(total, np.float32(count))


def reduce_max(x: Float32Array, *, axes: Sequence[int], keepdims: bool = False) -> Float32Array:
    """The first maximum in row-major order of the axes' positions (so of +0 and -0 the first); NaN wins.

    Raises ValueError when nothing is reduced over, otherwise as :func:`reduce_sum`.
    """
    x = np.asarray(x)
    require_float32("reduce_max", x)
    reduced = normalize_axes(axes, x.ndim)
    if not reduced:
        return x
    if not has_negative_zero(x):
        return np.asarray(np.max(x, axis=reduced, keepdims=keepdims))
    positions = merge_axes_first(x, reduced)
    first = np.argmax(positions, axis=0, keepdims=True)
    best = np.take_along_axis(positions, first, axis=0)[0, ...]
    return np.expand_dims(best, reduced) if keepdims else best


def has_negative_zero(x: Float32Array) -> bool:
    """Whether a -0 is among x: only then does a maximum have to look at the order of equal values."""
    return bool((x.view(np.int32) == NEGATIVE_ZERO_BITS).any())


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """The axes as sorted, distinct, non-negative integers. Raises numpy.exceptions.AxisError."""
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(tuple(axes), rank)))


def merge_axes_first(x: Float32Array, reduced: tuple[int, ...]) -> Float32Array:
    """[positions of the reduced axes in row-major order, kept axes...]."""
    kept = tuple(axis for axis in range(x.ndim) if axis not in reduced)
    return x.transpose(reduced + kept).reshape(-1, *(x.shape[axis] for axis in kept))
