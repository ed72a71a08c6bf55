"""Shape rules of gradients and of the other ops that only training steps hold.

``g`` is the gradient of the op that the name speaks of. What its operands do not say, such as the shape of
the image behind a strided convolution, the type of the result does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from flexc.ir import shapes, window_shapes
from flexc.ir.shapes import Shape, ShapeError, TensorSpec, require_float


def conv_local_grad(
    g: TensorSpec,
    w: TensorSpec,
    *,
    x_shape: Shape,
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> TensorSpec:
    """g [N, O, output...] and w [O, C/group, kernel...] -> [N, C, spatial...]."""
    x = TensorSpec(x_shape)
    y = window_shapes.conv(x, w, stride=stride, pads=pads, dilation=dilation, group=group)
    _require_gradient(g, y)
    return x


def conv_weight_grad(
    g: TensorSpec,
    x: TensorSpec,
    *,
    w_shape: Shape,
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> TensorSpec:
    """g [N, O, output...] and x [N, C, spatial...] -> [O, C/group, kernel...]."""
    w = TensorSpec(w_shape)
    _require_gradient(g, window_shapes.conv(x, w, stride=stride, pads=pads, dilation=dilation, group=group))
    return w


def max_pool_grad(
    g: TensorSpec,
    x: TensorSpec,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: int,
) -> TensorSpec:
    """g [N, C, output...] and x [N, C, spatial...] -> the shape of x."""
    pooled = window_shapes.max_pool(
        x, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
    )
    _require_gradient(g, pooled)
    return x


def average_pool_grad(
    g: TensorSpec,
    *,
    x_shape: Shape,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: int,
    count_include_pad: int,
) -> TensorSpec:
    """g [N, C, output...] -> [N, C, spatial...]."""
    del count_include_pad
    return max_pool_grad(
        g,
        TensorSpec(x_shape),
        kernel=kernel,
        stride=stride,
        pads=pads,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


def reduce_max_grad(g: TensorSpec, x: TensorSpec, *, axes: Sequence[int], keepdims: int) -> TensorSpec:
    """g, of the shape of the maxima, and x -> the shape of x."""
    _require_gradient(g, shapes.reduction(x, axes=axes, keepdims=keepdims))
    return x


def gather_grad(g: TensorSpec, indices: TensorSpec, *, x_shape: Shape, axis: int) -> TensorSpec:
    """g, of the shape of what was gathered, and the indices -> the shape of what it was gathered from."""
    x = TensorSpec(x_shape)
    _require_gradient(g, shapes.gather(x, indices, axis=axis))
    return x


def quantize(x: TensorSpec, step: TensorSpec | None = None, **_attributes: object) -> TensorSpec:
    """x, and for random bits that differ from step to step the number of the step."""
    _require_step(step)
    return shapes.elementwise(x)


def dropout(x: TensorSpec, *, ratio: float, number: int) -> TensorSpec:
    """x with a share of ``ratio`` set to zero."""
    del number
    _require_ratio(ratio)
    return shapes.elementwise(x)


def dropout_mask(step: TensorSpec, *, shape: Shape, ratio: float, seed: int, node: int) -> TensorSpec:
    """A mask of any shape."""
    del seed, node
    _require_step(step)
    _require_ratio(ratio)
    return TensorSpec(shape)


def batch_norm(
    x: TensorSpec, gamma: TensorSpec, beta: TensorSpec, **_attributes: object
) -> tuple[TensorSpec, ...]:
    """(y, mean, var, scale)."""
    vector = _channel_vector(x, gamma, beta)
    return x, vector, vector, vector


def batch_norm_grad(
    g: TensorSpec, x: TensorSpec, gamma: TensorSpec, mean: TensorSpec, scale: TensorSpec
) -> tuple[TensorSpec, ...]:
    """(dx, dgamma, dbeta)."""
    _require_gradient(g, x)
    vector = _channel_vector(x, gamma, mean, scale)
    return x, vector, vector


def lightnorm_forward(
    x: TensorSpec, gamma: TensorSpec, beta: TensorSpec, *, num_chunks: int, **_attributes: object
) -> tuple[TensorSpec, ...]:
    """(y, mean, range, xhat, argmax, argmin, scale, gamma_q)."""
    _channel_vector(x, beta)
    mean, batch_range, argmax, argmin, scale, gamma_q = lightnorm_statistics(x, gamma, num_chunks=num_chunks)
    return x, mean, batch_range, x, argmax, argmin, scale, gamma_q


def lightnorm_statistics(
    x: TensorSpec, gamma: TensorSpec, *, num_chunks: int, **_attributes: object
) -> tuple[TensorSpec, ...]:
    """(mean, range, argmax, argmin, scale, gamma_q)."""
    vector = _channel_vector(x, gamma)
    if num_chunks < 1:
        raise ShapeError(f"{num_chunks} chunks")
    positions = x.size // x.shape[1]
    chunks = gcd(positions, num_chunks)
    if positions < 2 * chunks:
        raise ShapeError(
            f"{positions} positions a channel in {chunks} chunks",
            "each chunk needs two or more: a larger batch or fewer chunks",
        )
    extremes = TensorSpec((x.shape[1], chunks), "i64")
    return vector, vector, extremes, extremes, vector, vector


def lightnorm_normalize(
    x: TensorSpec,
    mean: TensorSpec,
    scale: TensorSpec,
    gamma_q: TensorSpec,
    beta: TensorSpec,
    **_attributes: object,
) -> tuple[TensorSpec, ...]:
    """(y, xhat)."""
    _channel_vector(x, mean, scale, gamma_q, beta)
    return x, x


def lightnorm_backward(
    g: TensorSpec,
    xhat: TensorSpec,
    argmax: TensorSpec,
    argmin: TensorSpec,
    scale: TensorSpec,
    gamma_q: TensorSpec,
    **_attributes: object,
) -> tuple[TensorSpec, ...]:
    """(dx, dgamma, dbeta)."""
    _require_gradient(g, xhat)
    vector = _channel_vector(g, scale, gamma_q)
    if argmax != argmin or argmax.element != "i64" or argmax.rank != 2 or argmax.shape[:1] != vector.shape:
        raise ShapeError(f"positions {argmax} and {argmin} of the extremes of {vector.shape[0]} channels")
    return g, vector, vector


def _channel_vector(x: TensorSpec, *vectors: TensorSpec) -> TensorSpec:
    if x.rank < 2:
        raise ShapeError(f"input of rank {x.rank}", "channels are dimension 1: rank 2 or more is needed")
    expected = TensorSpec((x.shape[1],))
    for vector in vectors:
        if vector != expected:
            raise ShapeError(f"input has {x.shape[1]} channels, but a parameter is {vector}")
    return expected


def _require_gradient(g: TensorSpec, result: TensorSpec) -> None:
    require_float("a gradient", g)
    if g != result:
        raise ShapeError(f"a gradient {g} of a result {result}", "both have one shape")


def _require_ratio(ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise ShapeError(f"a dropout ratio of {ratio}", "it is at least 0 and below 1")


def _require_step(step: TensorSpec | None) -> None:
    if step is not None and (step.shape or step.element != "i64"):
        raise ShapeError(f"a step number {step}", "it is an i64 of rank 0")
