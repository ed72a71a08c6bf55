"""Softmax and the fp32 normalizations, operation by operation (numerics specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.functions import exp, log
from flexc.numerics.reductions import reduce_max, reduce_mean, reduce_sum

F = np.float32


def softmax(x: Float32Array, *, axis: int = -1) -> Float32Array:
    """d = x - max; e = exp(d); e / lane_sum(e), over one axis."""
    _, exponentials, total = _shifted_exponentials("softmax", x, axis)
    with np.errstate(all="ignore"):
        exponentials /= total
    return exponentials


def log_softmax(x: Float32Array, *, axis: int = -1) -> Float32Array:
    """d = x - max; d - log(lane_sum(exp(d))), over one axis."""
    shifted, _, total = _shifted_exponentials("log_softmax", x, axis)
    with np.errstate(all="ignore"):
        shifted -= log(total)
    return shifted


def layer_norm(
    x: Float32Array,
    gamma: Float32Array,
    beta: Float32Array | None = None,
    *,
    axis: int = -1,
    eps: float = 1e-5,
) -> Float32Array:
    """((x - mean) * (1 / sqrt(var + eps))) * gamma + beta over the axes from `axis` on.

    mean and var are lane sums (of x, and of the rounded squares of x - mean) divided by the count. gamma and
    beta broadcast against the normalized axes.
    """
    x = np.asarray(x)
    require_float32("layer_norm", x, gamma)
    axes: Sequence[int] = range(axis % x.ndim, x.ndim)
    with np.errstate(all="ignore"):
        centred = x - reduce_mean(x, axes=axes, keepdims=True)
        variance = reduce_mean(centred * centred, axes=axes, keepdims=True)
        centred *= F(1.0) / np.sqrt(variance + F(eps))
        centred *= gamma
        if beta is not None:
            require_float32("layer_norm", beta)
            centred += beta
    return centred


def batch_norm(
    x: Float32Array,
    gamma: Float32Array,
    beta: Float32Array,
    mean: Float32Array,
    variance: Float32Array,
    *,
    eps: float = 1e-5,
) -> Float32Array:
    """x * scale + shift by channel, for x [N, C, ...] and four vectors [C].

    scale = gamma / sqrt(variance + eps) and shift = beta - mean * scale, each operation rounded.
    """
    x = np.asarray(x)
    require_float32("batch_norm", x, gamma, beta, mean, variance)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + F(eps))
        shift = beta - mean * scale
        by_channel = (-1, *(1,) * (x.ndim - 2))
        y: Float32Array = x * scale.reshape(by_channel)
        y += shift.reshape(by_channel)
    return y


def _shifted_exponentials(
    name: str, x: Float32Array, axis: int
) -> tuple[Float32Array, Float32Array, Float32Array]:
    x = np.asarray(x)
    require_float32(name, x)
    with np.errstate(all="ignore"):
        shifted: Float32Array = x - reduce_max(x, axes=(axis,), keepdims=True)
    exponentials = exp(shifted)
    return shifted, exponentials, reduce_sum(exponentials, axes=(axis,), keepdims=True)
