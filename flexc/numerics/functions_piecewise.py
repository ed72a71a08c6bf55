"""Elementwise functions of a few IEEE operations: roots, signs, and piecewise linear activations.

Where a comparison decides (relu, leaky_relu, clip, hard_sigmoid) a zero result is +0; elsewhere zeros follow
IEEE. NaN propagates through all of them.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.elementwise import Float32Array, map_blocks, map_dense, select

F = np.float32
Number = TypeVar("Number", bound=np.number)


def sqrt(x: Float32Array) -> Float32Array:
    """The IEEE square root: sqrt(-0) = -0, NaN below zero."""
    return map_blocks("sqrt", np.sqrt, x)


def reciprocal(x: Float32Array) -> Float32Array:
    """RN32(1 / x): one IEEE division."""
    return map_blocks("reciprocal", lambda block: F(1.0) / block, x)


def floor(x: Float32Array) -> Float32Array:
    """The largest integer not above x; floor(-0) = -0."""
    return map_blocks("floor", np.floor, x)


def neg(x: NDArray[Number]) -> NDArray[Number]:
    """-x; in fp32 the sign bit is flipped, so neg(+0) = -0."""
    result: NDArray[Number] = np.negative(x)
    return result


def absolute(x: NDArray[Number]) -> NDArray[Number]:
    """|x|; in fp32 the sign bit is cleared."""
    result: NDArray[Number] = np.abs(x)
    return result


def relu(x: Float32Array) -> Float32Array:
    """x where x > 0, otherwise +0."""
    if use_compiled():
        return _cut_compiled("relu", x, 0.0, None)
    return map_blocks("relu", _maximum_with_zero, x)


def leaky_relu(x: Float32Array, *, alpha: float = 0.01) -> Float32Array:
    """x where x >= 0, otherwise RN32(alpha) * x; zero results are +0."""
    slope = F(alpha)

    def kernel(block: Float32Array) -> Float32Array:
        return select(block < F(0.0), block * slope, block) + F(0.0)

    return map_blocks("leaky_relu", kernel, x)


def clip(x: Float32Array, *, minimum: float | None = None, maximum: float | None = None) -> Float32Array:
    """min(max(x, minimum), maximum), a missing bound left out; zero results are +0."""
    if use_compiled():
        return _cut_compiled("clip", x, minimum, maximum)

    def kernel(block: Float32Array) -> Float32Array:
        bounded = block if minimum is None else np.maximum(block, F(minimum))
        bounded = bounded if maximum is None else np.minimum(bounded, F(maximum))
        return bounded + F(0.0)

    return map_blocks("clip", kernel, x)


def hard_sigmoid(x: Float32Array, *, alpha: float = 0.2, beta: float = 0.5) -> Float32Array:
    """max(0, min(1, RN32(alpha) * x + RN32(beta))): a product, a sum, then the bounds."""
    return map_blocks("hard_sigmoid", lambda block: _hard_sigmoid_block(block, F(alpha), F(beta)), x)


def hard_swish(x: Float32Array) -> Float32Array:
    """x * hard_sigmoid(x) with alpha = RN32(1/6) and beta = 1/2; the last product keeps its IEEE zero."""
    return map_blocks("hard_swish", lambda block: block * _hard_sigmoid_block(block, F(1 / 6), F(0.5)), x)


def _cut_compiled(name: str, x: Float32Array, minimum: float | None, maximum: float | None) -> Float32Array:
    from flexc.numerics.compiled.bounds import cut

    least = F(-np.inf if minimum is None else minimum)
    largest = F(np.inf if maximum is None else maximum)
    return map_dense(name, lambda dense, out: cut(dense, least, largest, out), x)


def _maximum_with_zero(block: Float32Array) -> Float32Array:
    # np.maximum leaves the sign of a zero open between +0 and -0; adding +0 makes it +0.
    return np.maximum(block, F(0.0)) + F(0.0)


def _hard_sigmoid_block(block: Float32Array, alpha: np.float32, beta: np.float32) -> Float32Array:
    line = block * alpha
    line += beta
    return _maximum_with_zero(np.minimum(line, F(1.0)))
