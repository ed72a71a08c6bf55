"""The vector unit's two-operand operations and its lane sum (numerics specification, section 3)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array, require_float32

LANES = 16
Number = TypeVar("Number", bound=np.number)
Scalar = TypeVar("Scalar", bound=np.generic)


def add(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """x + y, broadcast; one rounding in fp32."""
    with np.errstate(all="ignore"):
        result: NDArray[Number] = np.add(x, y)
        return result


def sub(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """x - y, broadcast; one rounding in fp32."""
    with np.errstate(all="ignore"):
        result: NDArray[Number] = np.subtract(x, y)
        return result


def mul(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """x * y, broadcast; one rounding in fp32."""
    with np.errstate(all="ignore"):
        result: NDArray[Number] = np.multiply(x, y)
        return result


def div(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """x / y, broadcast; one rounding in fp32, truncated towards zero for integers.

    Raises ZeroDivisionError when an integer is divided by zero.
    """
    x, y = np.asarray(x), np.asarray(y)
    if np.issubdtype(x.dtype, np.integer):
        return _divide_integers(x, y)
    with np.errstate(all="ignore"):
        result: NDArray[Number] = np.divide(x, y)
        return result


def minimum(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """y where y < x or y is NaN, otherwise x: of two equal operands (zeros too) the first."""
    return np.where((y < x) | (y != y), y, x)


def maximum(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    """y where y > x or y is NaN, otherwise x: of two equal operands (zeros too) the first."""
    return np.where((y > x) | (y != y), y, x)


def equal(x: NDArray[Scalar], y: NDArray[Scalar]) -> NDArray[np.bool_]:
    """x == y, broadcast."""
    result: NDArray[np.bool_] = np.equal(x, y)
    return result


def less(x: NDArray[Number], y: NDArray[Number]) -> NDArray[np.bool_]:
    """x < y, broadcast."""
    result: NDArray[np.bool_] = np.less(x, y)
    return result


def greater(x: NDArray[Number], y: NDArray[Number]) -> NDArray[np.bool_]:
    """x > y, broadcast."""
    result: NDArray[np.bool_] = np.greater(x, y)
    return result


def where(condition: NDArray[np.bool_], x: NDArray[Scalar], y: NDArray[Scalar]) -> NDArray[Scalar]:
    """x where the condition holds, otherwise y, all three broadcast."""
    if not x.dtype == y.dtype == np.float32:
        return np.where(condition, x, y)
    # By bits, without a branch: np.where costs several times as much when the condition is irregular.
    mask = np.negative(condition, dtype=np.int32)
    chosen = np.bitwise_and(x.view(np.int32), mask)
    other = y.view(np.int32)
    if other.size != 1 or other.ndim > chosen.ndim or other.any():
        chosen = np.bitwise_or(chosen, np.bitwise_and(other, ~mask))
    return np.asarray(chosen).view(x.dtype)


def lane_sum(v: Float32Array) -> Float32Array:
    """The sum over the last axis by 16 lanes: v [..., R] -> [...].

    Lane l adds v_l, v_{l+16}, ... from +0 in order; then lane l += lane l+half for half = 8, 4, 2, 1.
    Raises TypeError when v is not fp32.
    """
    v = np.asarray(v)
    require_float32("lane_sum", v)
    return lane_sum_over_axis(v, axis=v.ndim - 1)


def lane_sum_over_axis(v: Float32Array, *, axis: int) -> Float32Array:
    """:func:`lane_sum` over one axis, which is dropped."""
    v = np.moveaxis(v, axis, 0)
    if min(v.strides) <= 0:
        # NumPy may walk such axes in an order of its own; positive strides fix the order that follows.
        v = np.ascontiguousarray(v)
    rest = v.shape[1:]
    full_steps = v.shape[0] // LANES
    remainder = v[full_steps * LANES :]
    steps = v[: full_steps * LANES].reshape(full_steps, LANES, *rest)
    with np.errstate(all="ignore"):
        # The lane axis moves faster in memory than the steps: each lane takes its steps one by one, in order.
        lanes: Float32Array = np.add.reduce(steps, axis=0, initial=np.float32(0.0))
        lanes[: len(remainder)] += remainder
        half = LANES // 2
        while half:
            lanes[:half] += lanes[half : 2 * half]
            half //= 2
    return lanes[0, ...].copy()


def _divide_integers(x: NDArray[Number], y: NDArray[Number]) -> NDArray[Number]:
    if not np.all(y):
        raise ZeroDivisionError("div: an integer tensor divided by zero")
    quotient: NDArray[Number] = np.floor_divide(x, y)
    quotient += ((quotient < 0) & (quotient * y != x)).astype(quotient.dtype)
    return quotient
