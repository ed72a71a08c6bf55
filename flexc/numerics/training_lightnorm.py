"""LightNorm forward and backward with the results in a row, as a training step calls them (section 5)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import Rounding
from flexc.numerics.elementwise import Float32Array
from flexc.numerics.lightnorm_results import LightNormForward
from flexc.numerics.lightnorm_training import (
    lightnorm_backward,
    lightnorm_batch_statistics,
    lightnorm_forward,
    lightnorm_normalize_keeping_xhat,
)

Positions: TypeAlias = NDArray[np.int64]


def lightnorm_train(
    x: Float32Array,
    gamma: Float32Array,
    beta: Float32Array,
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> tuple[
    Float32Array, Float32Array, Float32Array, Float32Array, Positions, Positions, Float32Array, Float32Array
]:
    """(y, mean, range, xhat, argmax, argmin, scale, gamma_q) of :func:`flexc.numerics.lightnorm_forward`."""
    found = lightnorm_forward(x, gamma, beta, eps=eps, num_chunks=num_chunks, rounding=rounding)
    kept = (found.xhat, found.argmax, found.argmin, found.scale, found.gamma_q)
    return (found.y, found.mean, found.range, *kept)


def lightnorm_train_statistics(
    x: Float32Array,
    gamma: Float32Array,
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> tuple[Float32Array, Float32Array, Positions, Positions, Float32Array, Float32Array]:
    """(mean, range, argmax, argmin, scale, gamma_q) of :func:`lightnorm_train`."""
    found = lightnorm_batch_statistics(x, gamma, eps=eps, num_chunks=num_chunks, rounding=rounding)
    return found.mean, found.range, found.argmax, found.argmin, found.scale, found.gamma_q


def lightnorm_train_normalize(
    x: Float32Array,
    mean: Float32Array,
    scale: Float32Array,
    gamma_q: Float32Array,
    beta: Float32Array,
    *,
    rounding: str = Rounding.NEAREST,
) -> tuple[Float32Array, Float32Array]:
    """(y, xhat) of :func:`lightnorm_train` from what :func:`lightnorm_train_statistics` found of x."""
    return lightnorm_normalize_keeping_xhat(x, mean, scale, gamma_q, beta, rounding=rounding)


def lightnorm_train_grad(
    g: Float32Array,
    xhat: Float32Array,
    argmax: Positions,
    argmin: Positions,
    scale: Float32Array,
    gamma_q: Float32Array,
    *,
    rounding: str = Rounding.NEAREST,
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """(dx, dgamma, dbeta) of :func:`flexc.numerics.lightnorm_backward` from what the forward pass kept."""
    # The backward pass reads neither y nor the statistics.
    saved = LightNormForward(xhat, xhat, scale, scale, argmax, argmin, gamma_q, scale)
    return lightnorm_backward(g, saved, rounding=rounding)
