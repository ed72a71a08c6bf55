"""LightNorm in training: the forward pass with the statistics of x itself, and the backward pass (section 5).

Tensors are [N, C, any spatial dimensions]. The R = N * spatial positions of a channel are in (n, spatial)
row-major order and fall into K = gcd(R, num_chunks) chunks of n consecutive positions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_affine import AffineConstants, normalize_blocks
from flexc.numerics.lightnorm_constants import (
    BACKWARD_BITS,
    FORWARD_BITS,
    chunk_count,
    quantize_gamma,
    range_constant,
    require_channels,
    scale_of_range,
)
from flexc.numerics.lightnorm_gradient import GradientSums, GradientTerms
from flexc.numerics.lightnorm_groups import (
    CHANNELS_PER_GROUP,
    Block,
    BlockScratch,
    GroupLayout,
    PlanesOfBlock,
    like_block,
)
from flexc.numerics.lightnorm_machine import lightnorm_mean, lightnorm_range
from flexc.numerics.lightnorm_reference import (
    lightnorm_backward_reference,
    lightnorm_forward_reference,
    lightnorm_normalize_keeping_xhat_reference,
)
from flexc.numerics.lightnorm_results import BatchStatistics, LightNormForward
from flexc.numerics.lightnorm_statistics import MOST_SUMMED_AT_ONCE, ChannelStatistics, channel_statistics
from flexc.numerics.lightnorm_truncation import QuantizedBlocks, truncate_minifloats
from flexc.numerics.minifloat import FP10A, FP10B, is_nearest, round_block
from flexc.numerics.vector import lane_sum

FORWARD = "lightnorm_forward"
"""What errors call the forward pass."""
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def lightnorm_forward(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> LightNormForward:
    """Normalize with the statistics of x itself; y and xhat lie in memory as x does.

    Raises NonFiniteError for a value, given or computed, that is not finite; ValueError for shapes that do
    not belong together, fewer than 2 positions a chunk, or stochastic rounding.
    """
    require_channels(x, FORWARD, gamma=gamma, beta=beta)
    found, normalize = _statistics(x, gamma, eps, num_chunks, rounding)
    constants = AffineConstants(found.mean, found.scale, found.gamma_q, beta)
    if not constants.stay_finite:
        return lightnorm_forward_reference(x, gamma, beta, eps=eps, num_chunks=num_chunks, rounding=rounding)
    y, xhat = normalize(constants)
    return LightNormForward(y, xhat, **vars(found))


def lightnorm_batch_statistics(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    *,
    eps: float,
    num_chunks: int = 8,
    rounding: str = Rounding.NEAREST,
) -> BatchStatistics:
    """The statistics of :func:`lightnorm_forward` alone; raises as it does."""
    require_channels(x, FORWARD, gamma=gamma)
    return _statistics(x, gamma, eps, num_chunks, rounding)[0]


def lightnorm_normalize_keeping_xhat(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gamma_q: NDArray[np.float32],
    beta: NDArray[np.float32],
    *,
    rounding: str = Rounding.NEAREST,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(y, xhat) of :func:`lightnorm_forward` with the statistics of x, which is finite; raises as it does."""
    require_channels(x, FORWARD, mean=mean, scale=scale, gamma=gamma_q, beta=beta)
    constants = AffineConstants(mean, scale, gamma_q, beta)
    if not constants.stay_finite:
        vectors = (mean, scale, gamma_q, beta)
        return lightnorm_normalize_keeping_xhat_reference(x, *vectors, rounding=rounding)
    layout, nearest = GroupLayout.of(x), is_nearest(rounding)
    if _is_compiled(layout):
        from flexc.numerics.compiled import lightnorm as compiled

        return compiled.normalize_keeping_xhat(x, layout, nearest, constants)
    xq, bound = _quantized_planes(QuantizedBlocks(x, layout, FP10A, FORWARD_BITS, nearest, FORWARD, "x"))
    return _normalize_planes(xq, bound, layout, nearest, constants)


def lightnorm_backward(
    g: NDArray[np.float32], saved: LightNormForward, *, rounding: str = Rounding.NEAREST
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(dx, dgamma, dbeta) of the gradient g of y; dx lies in memory as g does.

    Raises NonFiniteError for a value, given or computed, that is not finite; ValueError when g does not
    have the shape of y.
    """
    op = "lightnorm_backward"
    if g.shape != saved.xhat.shape:
        raise ValueError(f"gradient of shape {list(g.shape)} where y has shape {list(saved.xhat.shape)}")
    layout = GroupLayout.of(g)
    chunks = saved.argmax.shape[1]
    constant = range_constant(layout.positions // chunks)
    sums = _gradient_sums(g, saved.xhat, layout, is_nearest(rounding), op)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        require_finite(sums.dgamma, op, "dgamma")
        require_finite(sums.dbeta, op, "dbeta")
        a = sums.dbeta / np.float32(layout.positions)
        b = (constant * sums.dgamma) / np.float32(chunks)
        c = saved.scale * saved.gamma_q
    bound = _bound_of_dx(sums.largest_h, a, b, c)
    if not bound <= _FLOAT32_MAX:
        return lightnorm_backward_reference(g, saved, rounding=rounding)
    terms = GradientTerms(a, b, c, saved.argmax, saved.argmin, bound)
    return sums.finish(terms), sums.dgamma, sums.dbeta


Normalize = Callable[[AffineConstants], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Gives (y, xhat)."""


def _statistics(
    x: NDArray[np.float32], gamma: NDArray[np.float32], eps: float, num_chunks: int, rounding: str
) -> tuple[BatchStatistics, Normalize]:
    layout = GroupLayout.of(x)
    chunks = chunk_count(layout.positions, num_chunks)
    constant = range_constant(layout.positions // chunks)
    found, normalize = _forward_passes(x, layout, chunks, is_nearest(rounding), FORWARD)
    gamma_q = quantize_gamma(gamma, rounding, FORWARD)
    mean = lightnorm_mean(found.total, layout.positions, rounding)
    batch_range = lightnorm_range(found.largest.sum(axis=1) - found.least.sum(axis=1), chunks)
    scale = scale_of_range(batch_range, constant, eps, rounding, FORWARD)
    return BatchStatistics(mean, batch_range, scale, gamma_q, found.argmax, found.argmin), normalize


def _forward_passes(
    x: NDArray[np.float32], layout: GroupLayout, chunks: int, nearest: bool, op: str
) -> tuple[ChannelStatistics, Normalize]:
    if _is_compiled(layout) and layout.positions // chunks <= MOST_SUMMED_AT_ONCE:
        from flexc.numerics.compiled import lightnorm as compiled

        statistics = compiled.statistics(x, layout, chunks, nearest, op)
        return statistics, partial(compiled.normalize_keeping_xhat, x, layout, nearest)
    xq, bound = _quantized_planes(QuantizedBlocks(x, layout, FP10A, FORWARD_BITS, nearest, op, "x"))
    return channel_statistics(xq, layout, chunks), partial(_normalize_planes, xq, bound, layout, nearest)


def _gradient_sums(
    g: NDArray[np.float32], xhat: NDArray[np.float32], layout: GroupLayout, nearest: bool, op: str
) -> GradientSums:
    if _is_compiled(layout):
        from flexc.numerics.compiled import lightnorm as compiled

        return compiled.gradient_sums(g, xhat, layout, nearest, op)
    blocks = QuantizedBlocks(g, layout, FP10B, BACKWARD_BITS, nearest, op, "g")
    h, products, largest_h = _gradient_planes(blocks, xhat)
    with np.errstate(over="ignore", invalid="ignore"):
        dbeta = layout.from_channel_planes(lane_sum(layout.by_channel(h)))
        dgamma = layout.from_channel_planes(lane_sum(layout.by_channel(products)))
    return GradientSums(dgamma, dbeta, largest_h, partial(_gradient_of_planes, h, layout, nearest))


def _is_compiled(layout: GroupLayout) -> bool:
    return layout.channels_last and layout.channels % CHANNELS_PER_GROUP == 0 and use_compiled()


def _normalize_planes(
    xq: NDArray[np.float32], bound: float, layout: GroupLayout, nearest: bool, constants: AffineConstants
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    def load(block: Block, memory: PlanesOfBlock) -> float:
        np.copyto(memory.planes, xq[:, *block])
        return bound

    y, xhat = layout.empty(), layout.empty()
    normalize_blocks(layout, load, constants, nearest, y=layout.view(y), xhat=layout.view(xhat))
    return y, xhat


def _gradient_of_planes(
    h: NDArray[np.float32], layout: GroupLayout, nearest: bool, terms: GradientTerms
) -> NDArray[np.float32]:
    """dx; h is overwritten."""
    _subtract_means(h, layout, terms.a)
    t = layout.by_channel(h)
    group = np.arange(layout.groups)[:, np.newaxis]
    for k in range(len(t)):
        members = slice(k, None, len(t))
        of_chunk = terms.b[members, np.newaxis]
        present = group[: len(of_chunk)]
        t[k][present, terms.argmax[members]] -= of_chunk
        t[k][present, terms.argmin[members]] += of_chunk

    dx = layout.empty()
    result = layout.view(dx)
    scratch = BlockScratch(layout)
    for groups in layout.group_runs():
        spread = layout.spread([terms.c], groups)
        for block in layout.blocks(groups):
            memory = scratch.cut(block)
            planes = memory.planes
            (factor,) = like_block(spread, planes)
            np.multiply(h[:, *block], factor, out=planes)
            round_block(planes, memory.work, FP10B, nearest, terms.bound)
            truncate_minifloats(memory, FP10B, BACKWARD_BITS)
            layout.store(planes, block, result)
    return dx


def _quantized_planes(blocks: QuantizedBlocks) -> tuple[NDArray[np.float32], float]:
    """All planes of a quantized tensor, and a bound of its magnitudes."""
    layout = blocks.layout
    whole = layout.empty_planes()
    scratch = BlockScratch(layout)
    bound = 0.0
    for groups in layout.group_runs():
        for block in layout.blocks(groups):
            memory = scratch.cut(block)
            bound = max(bound, blocks.load(block, memory))
            whole[:, *block] = memory.planes
    return whole, bound


def _gradient_planes(
    blocks: QuantizedBlocks, xhat: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """All planes of h and of RN32(h * xhat), and a bound of the magnitudes of h."""
    layout = blocks.layout
    other = layout.view(xhat)
    h, products = layout.empty_planes(), layout.empty_planes()
    scratch, scratch_of_xhat = BlockScratch(layout), BlockScratch(layout)
    bound = 0.0
    for groups in layout.group_runs():
        for block in layout.blocks(groups):
            memory, planes_of_xhat = scratch.cut(block), scratch_of_xhat.cut(block).planes
            bound = max(bound, blocks.load(block, memory))
            h[:, *block] = memory.planes
            layout.load(other, block, planes_of_xhat)
            np.multiply(memory.planes, planes_of_xhat, out=products[:, *block])
    return h, products, bound


def _subtract_means(h: NDArray[np.float32], layout: GroupLayout, means: NDArray[np.float32]) -> None:
    for groups in layout.group_runs():
        spread = layout.spread([means], groups)
        for block in layout.blocks(groups):
            part = h[:, *block]
            (mean,) = like_block(spread, part)
            np.subtract(part, mean, out=part)


def _bound_of_dx(h: float, a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> float:
    """The largest magnitude that c * t may have; not a number when a constant is none."""
    largest_a, largest_b, largest_c = (float(np.abs(v).max(initial=0)) for v in (a, b, c))
    return (h + largest_a + 2 * largest_b) * largest_c * 1.001
