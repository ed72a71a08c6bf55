"""LightNorm: one-pass range normalization in ten bits, forward, backward and inference (section 5).

Tensors are [N, C, any spatial dimensions]. The R = N * spatial positions of a channel are in (n, spatial)
row-major order and fall into K = gcd(R, num_chunks) chunks of n consecutive positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, log, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_fast import normalize_channels_last
from flexc.numerics.minifloat import (
    BACKWARD_BITS,
    CHANNELS_PER_GROUP,
    FORWARD_BITS,
    FP10A,
    FP10B,
    STATS,
    round_fp64_to,
    round_to,
    truncate_groups,
)
from flexc.numerics.vector import lane_sum

# FP10A values are whole multiples of this power of two: 2^-14 with 4 fraction bits.
_FP10A_PLACES = 18
Vector = tuple[bytes, tuple[int, ...]]


@dataclass(frozen=True)
class LightNormForward:
    """The result of the forward pass, and what the backward pass needs of it.

    ``y`` and ``xhat`` have the shape of x; ``mean``, ``scale``, ``gamma_q`` and ``range`` are [C];
    ``argmax`` and ``argmin`` are [C, K], the first position of each chunk's maximum and minimum.
    ``range`` is what running statistics are made of.
    """

    y: NDArray[np.float32]
    xhat: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    argmax: NDArray[np.int64]
    argmin: NDArray[np.int64]
    gamma_q: NDArray[np.float32]
    range: NDArray[np.float32]


def chunk_count(positions: int, num_chunks: int) -> int:
    """K, the number of chunks.

    Raises ValueError when a chunk would have fewer than 2 positions, or ``num_chunks`` is below 1.
    """
    if num_chunks < 1:
        raise ValueError(f"num_chunks {num_chunks} is below 1")
    chunks = gcd(positions, num_chunks)
    if positions < 2 * chunks:
        raise ValueError(f"{positions} positions in {chunks} chunks: a chunk needs 2 positions or more")
    return chunks


def range_constant(positions_per_chunk: int) -> np.float32:
    """C, by which a range of ``positions_per_chunk`` samples becomes a standard deviation."""
    return np.float32(1 / sqrt(2 * log(positions_per_chunk)))


def lightnorm_forward(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> LightNormForward:
    """Normalize with the statistics of x itself.

    Raises NonFiniteError for a value, given or computed, that is not finite; ValueError for shapes that do
    not belong together, fewer than 2 positions a chunk, or stochastic rounding.
    """
    op = "lightnorm_forward"
    _require_channels(x, op, gamma=gamma, beta=beta)
    positions = x.shape[0] * prod(x.shape[2:])
    chunks = chunk_count(positions, num_chunks)
    constant = range_constant(positions // chunks)
    xq = truncate_groups(round_to(x, FP10A, rounding, op, "x"), FORWARD_BITS)
    gamma_q = _quantize_gamma(gamma, rounding, op)

    by_channel = np.moveaxis(xq, 1, 0).reshape(x.shape[1], positions)
    in_places = np.ldexp(by_channel, _FP10A_PLACES).astype(np.int64)
    mean_fp64 = np.ldexp(in_places.sum(axis=1).astype(np.float64) / np.float64(positions), -_FP10A_PLACES)
    mean = round_fp64_to(mean_fp64, STATS, rounding)

    by_chunk = in_places.reshape(x.shape[1], chunks, positions // chunks)
    argmax, argmin = by_chunk.argmax(axis=2), by_chunk.argmin(axis=2)
    spread = (by_chunk.max(axis=2).sum(axis=1) - by_chunk.min(axis=2).sum(axis=1)).astype(np.float64)
    # The sum is exact, and its fp64 quotient by a small K is never moved onto a tie between fp32 values.
    batch_range = np.ldexp(spread / chunks, -_FP10A_PLACES).astype(np.float32)
    scale = _scale_of_range(batch_range, constant, eps, rounding, op)

    xhat, y = _normalize(xq, mean, scale, gamma_q, beta, rounding, op)
    first = np.arange(chunks) * (positions // chunks)
    return LightNormForward(y, xhat, mean, scale, argmax + first, argmin + first, gamma_q, batch_range)


def lightnorm_backward(
    g: NDArray[np.float32], saved: LightNormForward, *, rounding: str = Rounding.NEAREST
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(dx, dgamma, dbeta) of the gradient g of y.

    Raises NonFiniteError for a value, given or computed, that is not finite; ValueError when g does not
    have the shape of y.
    """
    op = "lightnorm_backward"
    if g.shape != saved.xhat.shape:
        raise ValueError(f"gradient of shape {list(g.shape)} where y has shape {list(saved.xhat.shape)}")
    channels, chunks = saved.argmax.shape
    positions = saved.xhat.size // channels
    constant = range_constant(positions // chunks)
    h = _by_channel(truncate_groups(round_to(g, FP10B, rounding, op, "g"), BACKWARD_BITS))
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
    dx = truncate_groups(round_to(like_x, FP10B, rounding, op, "dx"), BACKWARD_BITS)
    return dx, dgamma, dbeta


def lightnorm_infer(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    *,
    eps: float,
    rounding: str = Rounding.NEAREST,
) -> NDArray[np.float32]:
    """Normalize with the statistics of an imported BatchNormalization.

    Raises as :func:`lightnorm_forward` does.
    """
    constants = lightnorm_infer_constants(gamma, mean, var, eps=eps, rounding=rounding)
    return lightnorm_normalize(x, *constants, beta, rounding=rounding)


def lightnorm_infer_constants(
    gamma: NDArray[np.float32],
    mean: NDArray[np.float32],
    var: NDArray[np.float32],
    *,
    eps: float,
    rounding: str = Rounding.NEAREST,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(mean, scale, gamma_q) [C] of an imported BatchNormalization, for :func:`lightnorm_normalize`."""
    vectors = (np.asarray(vector, np.float32) for vector in (gamma, mean, var))
    return _infer_constants(*((v.tobytes(), v.shape) for v in vectors), eps, Rounding(rounding))


@lru_cache(maxsize=512)
def _infer_constants(
    gamma_bytes: Vector, mean_bytes: Vector, var_bytes: Vector, eps: float, rounding: Rounding
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of the bytes and shape of each vector: a network asks for the same constants at every call."""
    op = "lightnorm_infer"
    gamma, mean, var = (
        np.frombuffer(data, np.float32).reshape(shape) for data, shape in (gamma_bytes, mean_bytes, var_bytes)
    )
    _require_vectors(op, gamma=gamma, mean=mean, var=var)
    with np.errstate(all="ignore"):
        reciprocal = np.float32(1) / np.sqrt(var + np.float32(eps))
    constants = (
        round_to(mean, STATS, rounding, op, "mean"),
        round_to(reciprocal, STATS, rounding, op, "1 / sqrt(var + eps)"),
        _quantize_gamma(gamma, rounding, op),
    )
    for constant in constants:
        constant.flags.writeable = False
    return constants


def lightnorm_range_constants(
    gamma: NDArray[np.float32],
    running_mean: NDArray[np.float32],
    running_range: NDArray[np.float32],
    *,
    positions_per_chunk: int,
    eps: float,
    rounding: str = Rounding.NEAREST,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(mean, scale, gamma_q) [C] of running statistics, for :func:`lightnorm_normalize`.

    ``positions_per_chunk`` is that of a training batch.
    """
    op = "lightnorm_infer"
    _require_vectors(op, gamma=gamma, mean=running_mean, range=running_range)
    return (
        round_to(running_mean, STATS, rounding, op, "mean"),
        _scale_of_range(running_range, range_constant(positions_per_chunk), eps, rounding, op),
        _quantize_gamma(gamma, rounding, op),
    )


def running_statistic(
    running: NDArray[np.float32], batch: NDArray[np.float32], *, momentum: float
) -> NDArray[np.float32]:
    """momentum * running + (1 - momentum) * batch, each operation rounded to fp32."""
    kept = np.float32(momentum)
    return kept * running + (np.float32(1) - kept) * batch


def lightnorm_normalize(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gamma_q: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    rounding: str = Rounding.NEAREST,
) -> NDArray[np.float32]:
    """Normalize x with given constants [C], as inference does."""
    op = "lightnorm_infer"
    _require_channels(x, op, mean=mean, scale=scale, gamma=gamma_q, beta=beta)
    last = x.transpose(0, *range(2, x.ndim), 1)
    if Rounding(rounding) is Rounding.NEAREST and x.size and x.shape[1] % CHANNELS_PER_GROUP == 0:
        y = normalize_channels_last(np.ascontiguousarray(last), (mean, scale, gamma_q, beta))
        if y is not None:
            return y.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    xq = truncate_groups(round_to(x, FP10A, rounding, op, "x"), FORWARD_BITS)
    return _normalize(xq, mean, scale, gamma_q, beta, rounding, op)[1]


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
    return xhat, truncate_groups(round_to(affine, FP10A, rounding, op, "y"), FORWARD_BITS)


def _scale_of_range(
    batch_range: NDArray[np.float32], constant: np.float32, eps: float, rounding: str, op: str
) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        reciprocal = np.float32(1) / (batch_range * constant + np.float32(eps))
    return round_to(reciprocal, STATS, rounding, op, "1 / (range + eps)")


def _quantize_gamma(gamma: NDArray[np.float32], rounding: str, op: str) -> NDArray[np.float32]:
    rounded = round_to(gamma, FP10A, rounding, op, "gamma")
    return truncate_groups(rounded.reshape(1, -1), FORWARD_BITS).reshape(-1)


def _by_channel(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x [N, C, ...] as [C, positions]."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def _require_channels(x: NDArray[np.float32], op: str, **vectors: NDArray[np.float32]) -> None:
    if x.ndim < 2:
        raise ValueError(f"{op} takes [N, C, ...], not shape {list(x.shape)}")
    _require_vectors(op, **vectors)
    for name, vector in vectors.items():
        if vector.shape != (x.shape[1],):
            raise ValueError(f"{op}: {name} has shape {list(vector.shape)} for {x.shape[1]} channels")


def _require_vectors(op: str, **vectors: NDArray[np.float32]) -> None:
    for name, vector in vectors.items():
        if vector.ndim != 1:
            raise ValueError(f"{op}: {name} has rank {vector.ndim}, not 1")
        require_finite(vector, op, name)
