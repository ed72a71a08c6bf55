"""LightNorm in passes over whole tensors by :mod:`flexc.numerics.compiled.lightnorm_kernels`.

Channels are a multiple of 4. Training takes tensors that lie channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.compiled.lightnorm_kernels import (
    affine_kernel,
    gradient_kernel,
    gradient_sums_kernel,
    statistics_kernel,
    subtract_means,
)
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_affine import AffineConstants
from flexc.numerics.lightnorm_gradient import GradientSums, GradientTerms
from flexc.numerics.lightnorm_groups import CHANNELS_PER_GROUP, GroupLayout
from flexc.numerics.lightnorm_statistics import FP10A_PLACES, ChannelStatistics
from flexc.numerics.minifloat import FP10B
from flexc.numerics.vector import LANES

_FEWEST_GROUPS = 512
_GROUPS_OF_STATISTICS = 128
_INFINITY = 0x7F800000


def normalize(
    x: NDArray[np.float32], layout: GroupLayout, constants: AffineConstants, nearest: bool, op: str
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.lightnorm_normalize` computes, for constants that stay finite.

    Raises NonFiniteError.
    """
    y = layout.empty()
    if _affine(x, layout, constants, nearest, y, None) >= _INFINITY:
        require_finite(x, op, "x")
    return y


def normalize_keeping_xhat(
    x: NDArray[np.float32], layout: GroupLayout, nearest: bool, constants: AffineConstants
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(y, xhat) of finite x, for constants that stay finite."""
    y, xhat = layout.empty(), layout.empty()
    _affine(x, layout, constants, nearest, y, xhat)
    return y, xhat


def _affine(
    x: NDArray[np.float32],
    layout: GroupLayout,
    constants: AffineConstants,
    nearest: bool,
    y: NDArray[np.float32],
    xhat: NDArray[np.float32] | None,
) -> int:
    """Fill y, and xhat where there is one; the bits of the largest magnitude of x."""
    count, repeats = layout.inner, 1
    if layout.channels_last:
        repeats = _repeats(layout, _FEWEST_GROUPS)
        count = repeats * layout.groups
    key = ("planes", layout.groups, repeats)
    planes = constants.prepared.get(key)
    if planes is None:
        vectors = (constants.mean, constants.scale, constants.gamma_q, constants.beta)
        planes = constants.prepared[key] = _planes(vectors, layout, repeats)
    flat_y = layout.view(y).reshape(-1)
    flat_xhat = flat_y if xhat is None else layout.view(xhat).reshape(-1)
    fill = affine_kernel(layout.channels_last, nearest, xhat is not None)
    return int(fill(_flat(x, layout), flat_y, flat_xhat, *planes, count))


def statistics(
    x: NDArray[np.float32], layout: GroupLayout, chunks: int, nearest: bool, op: str
) -> ChannelStatistics:
    """The statistics of bfp10(FP10A(x), 7) of channels-last x. Raises NonFiniteError."""
    n = layout.positions // chunks
    repeats = _repeats(layout, _GROUPS_OF_STATISTICS)
    places = (chunks, repeats, layout.channels)
    total = np.zeros(places)
    high, low = np.full(places, -np.inf, np.float32), np.full(places, np.inf, np.float32)
    first_high, first_low = np.zeros((2, *places), np.int32)
    results = [of_place.reshape(-1) for of_place in (total, high, low, first_high, first_low)]
    lengths = (n * layout.channels, repeats * layout.channels)
    if statistics_kernel(nearest)(_flat(x, layout), *lengths, *results) >= _INFINITY:
        require_finite(x, op, "x")

    def in_places(values: NDArray[Any]) -> NDArray[np.int64]:
        """[chunks, C] as integers [C, chunks]."""
        whole: NDArray[np.int64] = np.ldexp(values, FP10A_PLACES).astype(np.int64)
        return whole.T

    def first(runs: NDArray[np.int32], values: NDArray[np.float32], best: NDArray[np.float32]) -> Any:
        """The first position, counted over all chunks, of those that hold the extremum."""
        position = runs.astype(np.int64) * repeats + np.arange(repeats)[:, np.newaxis]
        held = np.where(values == best[:, np.newaxis], position, n).min(axis=1)
        return held.T + np.arange(chunks) * n

    largest, least = high.max(axis=1), low.min(axis=1)
    return ChannelStatistics(
        in_places(total.sum(axis=1)).sum(axis=1),
        in_places(largest),
        in_places(least),
        first(first_high, high, largest),
        first(first_low, low, least),
    )


def gradient_sums(
    g: NDArray[np.float32], xhat: NDArray[np.float32], layout: GroupLayout, nearest: bool, op: str
) -> GradientSums:
    """The first pass over channels-last g. Raises NonFiniteError."""
    h = layout.empty()
    lanes = np.zeros((2, LANES, layout.channels), np.float32)
    flat = (_flat(g, layout), _flat(xhat, layout), layout.view(h).reshape(-1))
    if gradient_sums_kernel(nearest)(*flat, *lanes.reshape(2, -1)) >= _INFINITY:
        require_finite(g, op, "g")
    half = LANES // 2
    while half:
        lanes[:, :half] += lanes[:, half : 2 * half]
        half //= 2
    dbeta, dgamma = lanes[:, 0].copy()
    return GradientSums(dgamma, dbeta, FP10B.largest, partial(_gradient, h, layout, nearest))


def _gradient(
    h: NDArray[np.float32], layout: GroupLayout, nearest: bool, terms: GradientTerms
) -> NDArray[np.float32]:
    """dx, in the place of h."""
    repeats = _repeats(layout, _FEWEST_GROUPS)
    (scales,) = _planes((terms.c,), layout, repeats)
    t = layout.view(h)[:, :, 0]
    flat = t.reshape(-1)
    subtract_means(flat, np.tile(terms.a, repeats))
    channel, of_chunk = np.arange(layout.channels)[:, np.newaxis], terms.b[:, np.newaxis]
    t[terms.argmax, channel] -= of_chunk
    t[terms.argmin, channel] += of_chunk
    gradient_kernel(nearest)(flat, scales)
    return h


def _repeats(layout: GroupLayout, groups: int) -> int:
    """How many positions make a run of about as many groups."""
    return max(1, min(layout.positions, groups // layout.groups))


def _flat(x: NDArray[np.float32], layout: GroupLayout) -> NDArray[np.float32]:
    return np.ascontiguousarray(layout.view(np.asarray(x, np.float32))).reshape(-1)


def _planes(vectors: Sequence[NDArray[np.float32]], layout: GroupLayout, repeats: int) -> NDArray[np.float32]:
    """Each vector [C] as flat planes [4, repeats * groups]."""
    by_member = np.stack(vectors).reshape(len(vectors), layout.groups, CHANNELS_PER_GROUP).swapaxes(1, 2)
    return np.tile(by_member, repeats).reshape(len(vectors), -1)
