"""Batch normalization with the statistics of the batch, forward and backward (specification, section 3.8)."""

from __future__ import annotations

import numpy as np

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.reductions import reduce_mean, reduce_sum

F = np.float32


def batch_norm_train(
    x: Float32Array, gamma: Float32Array, beta: Float32Array, *, eps: float
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """(y, mean, var, scale) of x [N, C, ...]: two passes over x, then (d * scale) * gamma + beta.

    d = x - mean; var = reduce_mean(d * d); scale = 1 / sqrt(var + eps); vectors are [C]. Raises TypeError
    when an operand is not fp32.
    """
    require_float32("batch_norm_train", x, gamma, beta)
    axes, channels = _axes(x), _over_channels(x)
    with np.errstate(all="ignore"):
        mean = reduce_mean(x, axes=axes)
        centred = x - mean.reshape(channels)
        var = reduce_mean(centred * centred, axes=axes)
        scale = F(1) / np.sqrt(var + F(eps))
        centred *= scale.reshape(channels)
        centred *= gamma.reshape(channels)
        centred += beta.reshape(channels)
    return centred, mean, var, scale


def batch_norm_grad(
    g: Float32Array, x: Float32Array, gamma: Float32Array, mean: Float32Array, scale: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """(dx, dgamma, dbeta) of the gradient g of y, with the mean and scale of the forward pass.

    xhat = (x - mean) * scale; dbeta = reduce_sum(g); dgamma = reduce_sum(g * xhat);
    dx = (gamma * scale) * ((g - dbeta / R) - xhat * (dgamma / R)). Raises as :func:`batch_norm_train`.
    """
    require_float32("batch_norm_grad", g, x, gamma, mean, scale)
    axes, channels = _axes(x), _over_channels(x)
    positions = F(x.size // x.shape[1])
    with np.errstate(all="ignore"):
        xhat = x - mean.reshape(channels)
        xhat *= scale.reshape(channels)
        dbeta = reduce_sum(g, axes=axes)
        dgamma = reduce_sum(g * xhat, axes=axes)
        xhat *= (dgamma / positions).reshape(channels)
        dx = g - (dbeta / positions).reshape(channels)
        dx -= xhat
        dx *= (gamma * scale).reshape(channels)
    return dx, dgamma, dbeta


def _axes(x: Float32Array) -> tuple[int, ...]:
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def _over_channels(x: Float32Array) -> tuple[int, ...]:
    return (-1, *(1,) * (x.ndim - 2))
