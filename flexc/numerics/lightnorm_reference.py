"""LightNorm over whole tensors, step by step as the text has it (section 5).

The blockwise kernels must return the same bytes. They come here when constants are so large that a value
on the way may overflow, for the error that names it.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_constants import (
    BACKWARD_BITS,
    FORWARD_BITS,
    chunk_count,
    quantize_gamma,
    range_constant,
    scale_of_range,
)
from flexc.numerics.lightnorm_results import LightNormForward
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import FP10A, FP10B, STATS, round_fp64_to, round_to
from flexc.numerics.vector import lane_sum

# FP10A values are whole multiples of this power of two: 2^-14 with 4 fraction bits.
_FP10A_PLACES = 18


def lightnorm_forward_reference(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> LightNormForward:
    """What :func:`flexc.numerics.lightnorm_forward` must return, for arguments that belong together."""
    op = "lightnorm_forward"
    positions = x.shape[0] * prod(x.shape[2:])
    chunks = chunk_count(positions, num_chunks)
    constant = range_constant(positions // chunks)
    xq = bfp10(round_to(x, FP10A, rounding, op, "x"), bits=FORWARD_BITS)
    gamma_q = quantize_gamma(gamma, rounding, op)

    by_channel = np.moveaxis(xq, 1, 0).reshape(x.shape[1], positions)
    in_places = np.ldexp(by_channel, _FP10A_PLACES).astype(np.int64)
    mean_fp64 = np.ldexp(in_places.sum(axis=1).astype(np.float64) / np.float64(positions), -_FP10A_PLACES)
    mean = round_fp64_to(mean_fp64, STATS, rounding)

    by_chunk = in_places.reshape(x.shape[1], chunks, positions // chunks)
    argmax, argmin = by_chunk.argmax(axis=2), by_chunk.argmin(axis=2)
    spread = (by_chunk.max(axis=2).sum(axis=1) - by_chunk.min(axis=2).sum(axis=1)).astype(np.float64)
    # The sum is exact, and its fp64 quotient by a small K is never moved onto a tie between fp32 values.
    batch_range = np.ldexp(spread / chunks, -_FP10A_PLACES).astype(np.float32)
    scale = scale_of_range(batch_range, constant, eps, rounding, op)

    xhat, y = _normalize(xq, mean, scale, gamma_q, beta, rounding, op)
    first = np.arange(chunks) * (positions // chunks)
    return LightNormForward(y, xhat, mean, scale, argmax + first, argmin + first, gamma_q, batch_range)


def lightnorm_backward_reference(
    g: NDArray[np.float32], saved: LightNormForward, *, rounding: str = Rounding.NEAREST
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What :func:`flexc.numerics.lightnorm_backward` must return."""
    op = "lightnorm_backward"
    channels, chunks = saved.argmax.shape
    positions = saved.xhat.size // channels
    constant = range_constant(positions // chunks)
    h = _by_channel(bfp10(round_to(g, FP10B, rounding, op, "g"), bits=BACKWARD_BITS))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        dbeta = lane_sum(h)
        dgamma = lane_sum(h * _by_channel(saved.xhat))
        a = dbeta / np.float32(positions)
        b = (constant * dgamma) / np.float32(chunks)
        c = saved.scale * saved.gamma_q
        t = h - a[:, np.newaxis]
        channel = np.arange(channels)[:, np.newaxis]
        t[channel, saved.argmax] -= b[:, np.newaxis]
        t[channel, saved.argmin] += b[:, np.newaxis]
        scaled = c[:, np.newaxis] * t
    require_finite(dgamma, op, "dgamma")
    require_finite(dbeta, op, "dbeta")
    like_x = np.moveaxis(scaled.reshape(channels, g.shape[0], *g.shape[2:]), 0, 1)
    dx = bfp10(round_to(like_x, FP10B, rounding, op, "dx"), bits=BACKWARD_BITS)
    return dx, dgamma, dbeta


def lightnorm_normalize_reference(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gamma_q: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    rounding: str = Rounding.NEAREST,
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.lightnorm_normalize` must return, for arguments that belong together."""
    op = "lightnorm_infer"
    xq = bfp10(round_to(x, FP10A, rounding, op, "x"), bits=FORWARD_BITS)
    return _normalize(xq, mean, scale, gamma_q, beta, rounding, op)[1]


def lightnorm_normalize_keeping_xhat_reference(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gamma_q: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    rounding: str = Rounding.NEAREST,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(y, xhat) of :func:`lightnorm_forward_reference` with the statistics of x."""
    op = "lightnorm_forward"
    xq = bfp10(round_to(x, FP10A, rounding, op, "x"), bits=FORWARD_BITS)
    xhat, y = _normalize(xq, mean, scale, gamma_q, beta, rounding, op)
    return y, xhat


def _normalize(
    xq: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gamma_q: NDArray[np.float32],
    beta: NDArray[np.float32],
    rounding: str,
    op: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(xhat, y), steps 4 and 5."""
    over_x = (-1, *[1] * (xq.ndim - 2))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        centred = (xq - mean.reshape(over_x)) * scale.reshape(over_x)
        xhat = round_to(centred, FP10A, rounding, op, "xhat")
        affine = xhat * gamma_q.reshape(over_x) + beta.reshape(over_x)
    return xhat, bfp10(round_to(affine, FP10A, rounding, op, "y"), bits=FORWARD_BITS)


def _by_channel(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x [N, C, ...] as [C, positions]."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
