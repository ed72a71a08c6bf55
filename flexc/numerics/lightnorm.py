"""LightNorm inference (section 5).

Tensors are [N, C, any spatial dimensions]. The training passes are in :mod:`lightnorm_training`;
:mod:`lightnorm_reference` follows the text over whole tensors.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_affine import AffineConstants, normalize_blocks
from flexc.numerics.lightnorm_constants import (
    FORWARD_BITS,
    quantize_gamma,
    range_constant,
    require_channels,
    require_vectors,
    scale_of_range,
)
from flexc.numerics.lightnorm_groups import CHANNELS_PER_GROUP, GroupLayout
from flexc.numerics.lightnorm_reference import lightnorm_normalize_reference
from flexc.numerics.lightnorm_truncation import QuantizedBlocks
from flexc.numerics.minifloat import FP10A, STATS, is_nearest, round_to

_Vector = tuple[bytes, tuple[int, ...]]


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

    Raises NonFiniteError for a value, given or computed, that is not finite; ValueError for shapes that do
    not belong together, or stochastic rounding.
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
    gamma_bytes: _Vector, mean_bytes: _Vector, var_bytes: _Vector, eps: float, rounding: Rounding
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of the bytes and shape of each vector: a network asks for the same constants at every call."""
    op = "lightnorm_infer"
    gamma, mean, var = (
        np.frombuffer(content, np.float32).reshape(shape)
        for content, shape in (gamma_bytes, mean_bytes, var_bytes)
    )
    require_vectors(op, gamma=gamma, mean=mean, var=var)
    with np.errstate(all="ignore"):
        variance = var + np.float32(eps)
        require_finite(variance, op, "var + eps")
        reciprocal = np.float32(1) / np.sqrt(variance)
    constants = (
        round_to(mean, STATS, rounding, op, "mean"),
        round_to(reciprocal, STATS, rounding, op, "1 / sqrt(var + eps)"),
        quantize_gamma(gamma, rounding, op),
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
    require_vectors(op, gamma=gamma, mean=running_mean, range=running_range)
    return (
        round_to(running_mean, STATS, rounding, op, "mean"),
        scale_of_range(running_range, range_constant(positions_per_chunk), eps, rounding, op),
        quantize_gamma(gamma, rounding, op),
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
    """Normalize x with given constants [C], as inference does; y lies in memory as x does.

    Raises as :func:`lightnorm_infer` does.
    """
    require_channels(x, "lightnorm_infer", mean=mean, scale=scale, gamma=gamma_q, beta=beta)
    return normalize_with(x, AffineConstants(mean, scale, gamma_q, beta), rounding=rounding)


def normalize_with(
    x: NDArray[np.float32], constants: AffineConstants, *, rounding: str = Rounding.NEAREST
) -> NDArray[np.float32]:
    """:func:`lightnorm_normalize` with constants of its channels, which may be used again."""
    op = "lightnorm_infer"
    if not constants.stay_finite:
        vectors = (constants.mean, constants.scale, constants.gamma_q, constants.beta)
        return lightnorm_normalize_reference(x, *vectors, rounding=rounding)
    layout = GroupLayout.of(x)
    nearest = is_nearest(rounding)
    if layout.channels % CHANNELS_PER_GROUP == 0 and use_compiled():
        from flexc.numerics.compiled import lightnorm as compiled

        return compiled.normalize(x, layout, constants, nearest, op)
    xq = QuantizedBlocks(x, layout, FP10A, FORWARD_BITS, nearest, op, "x")
    y = layout.empty()
    normalize_blocks(layout, xq.load, constants, xq.nearest, y=layout.view(y))
    return y
