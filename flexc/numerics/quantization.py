"""Quantization to block floating point, and its zero-setting error (numerics specification, section 1).

Two exact ways. Rounding to nearest in groups along one axis, which is nearly every tensor, adds and takes
off 1.5 * 2^23 units of the group, so that fp32 addition itself rounds to whole units; it works through
the tensor in pieces that stay in cache. Everything else, and groups whose exponents are so far out that
these constants would leave fp32, shifts integer significands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import (
    BlockFormat,
    BlockTensor,
    Rounding,
    Sign,
    cut_tile,
    expand_groups,
    groups_shape,
)
from flexc.numerics.errors import require_finite
from flexc.numerics.random_bits import random_bits, random_bits_at

_PIECE_ELEMENTS = 1 << 16
_FRACTION_BITS = 23


def quantize(
    x: NDArray[np.float32],
    *,
    mantissa_bits: int,
    tile: Sequence[int],
    sign: str = Sign.INCLUDED,
    rounding: str = Rounding.NEAREST,
    seed: int = 0,
    stream: int = 0,
    flat_index: NDArray[np.uint32] | None = None,
) -> BlockTensor:
    """Quantize fp32 ``x`` in boxes of ``tile``; the result's values lie in memory as ``x`` does.

    ``flat_index`` gives the elements' indices for stochastic rounding where ``x`` is part of a tensor.

    Raises NonFiniteError for a NaN or an infinity, TypeError unless ``x`` is fp32, ValueError for a format
    or a tile that does not exist.
    """
    block_format = BlockFormat(mantissa_bits, Sign(sign))
    mode = Rounding(rounding)
    if x.dtype != np.float32:
        raise TypeError(f"quantize takes fp32, not {x.dtype}")
    cut = cut_tile(tile, x.shape)
    if mode is Rounding.NEAREST:
        fast = _quantize_along_axis(x, block_format, cut)
        if fast is not None:
            return fast
    return _quantize_by_shifts(x, block_format, cut, mode, seed, stream, flat_index)


def zero_setting_error(
    x: NDArray[np.float32],
    *,
    mantissa_bits: int,
    tile: Sequence[int],
    sign: str = Sign.INCLUDED,
    count_zeros: bool = False,
) -> float:
    """The share of elements that truncation to block floating point sets to zero.

    Of the elements that were not zero (or subnormal) before; with ``count_zeros``, zeros after over all
    elements, which is the definition of the published emulator. 0 where there is nothing to count.

    Raises as :func:`quantize` does.
    """
    truncated = quantize(x, mantissa_bits=mantissa_bits, tile=tile, sign=sign, rounding=Rounding.TRUNCATE)
    zero_after = truncated.mantissa == 0
    if count_zeros:
        return float(zero_after.mean()) if x.size else 0.0
    nonzero_before = np.abs(x) >= np.finfo(np.float32).smallest_normal
    count = int(nonzero_before.sum())
    return int((zero_after & nonzero_before).sum()) / count if count else 0.0


def _quantize_by_shifts(
    x: NDArray[np.float32],
    block_format: BlockFormat,
    tile: tuple[int, ...],
    mode: Rounding,
    seed: int,
    stream: int,
    flat_index: NDArray[np.uint32] | None = None,
) -> BlockTensor:
    """Any tile, format and rounding: the integer significand shifted right by its distance from the top."""
    require_finite(x, "quantize", "x")
    bits = x.view(np.int32) if x.flags.c_contiguous else x.copy(order="K").view(np.int32)
    e = (bits >> _FRACTION_BITS) & 0xFF
    exponent = _group_maximum(e, tile)
    p = block_format.magnitude_bits
    significand = np.where(e > 0, bits & 0x7FFFFF | 0x800000, 0)
    shift = expand_groups(exponent, x.shape, tile) - e + (_FRACTION_BITS + 1 - p)
    if mode is Rounding.STOCHASTIC:
        if flat_index is None:
            noise = random_bits(x.shape, seed=seed, stream=stream)
        else:
            noise = random_bits_at(flat_index, seed=seed, stream=stream)
        # floor(r * 2^16); past 40 places nothing is left of a 24-bit significand.
        scaled = (significand.astype(np.int64) << 16) >> np.minimum(shift, 40)
        q = ((scaled + noise) >> 16).astype(np.int32)
        np.copyto(q, 0, where=e == 0)
    else:
        shift = np.minimum(shift, _FRACTION_BITS + 2)
        q = significand
        if mode is Rounding.NEAREST:
            odd = (q >> shift) & 1
            q = q + np.where(shift > 0, ((1 << shift) >> 1) - 1 + odd, 0)
        q = q >> shift
    q = np.minimum(q, block_format.largest_magnitude)
    np.negative(q, out=q, where=bits < 0)
    return BlockTensor(
        shape=x.shape,
        exponent=exponent.astype(np.uint8),
        format=block_format,
        tile=tile,
        mantissa=q.astype(block_format.mantissa_dtype),
    )


def _group_maximum(e: NDArray[np.int32], tile: tuple[int, ...]) -> NDArray[np.int32]:
    if e.size == 0:
        return np.zeros(groups_shape(e.shape, tile), np.int32)
    for axis, extent in enumerate(tile):
        if extent > 1:
            e = np.maximum.reduceat(e, np.arange(0, e.shape[axis], extent), axis=axis)
    return e


@dataclass(frozen=True)
class _AxisGroups:
    """A dense tensor as [outer, length, inner] in the order of its memory, groups in the middle.

    A group has ``extent`` elements; ``order`` lists the tensor's axes from the outermost in
    memory to the innermost.
    """

    order: tuple[int, ...]
    outer: int
    length: int
    inner: int
    extent: int

    @classmethod
    def of(cls, x: NDArray[Any], tile: tuple[int, ...]) -> _AxisGroups | None:
        """How ``x`` can be seen so, or None where a group is not a run of one (merged) axis."""
        order = tuple(sorted(range(x.ndim), key=lambda axis: (-x.strides[axis], axis)))
        if not x.transpose(order).flags.c_contiguous:
            return None
        axes = [axis for axis in order if x.shape[axis] > 1]
        grouped = [axis for axis in axes if tile[axis] > 1]
        if not grouped:
            return cls(order, x.size, 1, 1, 1)
        first, last = axes.index(grouped[0]), axes.index(grouped[-1])
        within = axes[first + 1 : last + 1]
        if any(tile[axis] < x.shape[axis] for axis in within):
            return None
        merged = prod(x.shape[axis] for axis in within)
        return cls(
            order,
            outer=prod(x.shape[axis] for axis in axes[:first]),
            length=x.shape[grouped[0]] * merged,
            inner=prod(x.shape[axis] for axis in axes[last + 1 :]),
            extent=tile[grouped[0]] * merged,
        )


def _quantize_along_axis(
    x: NDArray[np.float32], block_format: BlockFormat, tile: tuple[int, ...]
) -> BlockTensor | None:
    """Rounding to nearest by adding and taking off a large constant; None where that would not be exact."""
    p = block_format.magnitude_bits
    if x.size == 0 or p > _FRACTION_BITS - 1:
        return None
    groups = _AxisGroups.of(x, tile)
    if groups is None:
        x = x.copy(order="K")
        groups = _AxisGroups.of(x, tile)
        if groups is None:
            return None
    in_memory = x.transpose(groups.order)
    source = in_memory.reshape(groups.outer, groups.length, groups.inner)
    values = np.empty_like(source)
    group_count = -(-groups.length // groups.extent)
    exponent = np.empty((groups.outer, group_count, groups.inner), np.uint8)

    inner_step = min(groups.inner, max(256, _PIECE_ELEMENTS // groups.extent))
    outer_step = max(1, _PIECE_ELEMENTS // (inner_step * min(groups.extent, groups.length)))
    for g in range(group_count):
        run = slice(g * groups.extent, (g + 1) * groups.extent)
        for outer in range(0, groups.outer, outer_step):
            rows = slice(outer, outer + outer_step)
            for inner in range(0, groups.inner, inner_step):
                columns = slice(inner, inner + inner_step)
                top = _round_piece(source[rows, run, columns], values[rows, run, columns], p)
                if top is None:
                    require_finite(x, "quantize", "x")
                    return None
                exponent[rows, g, columns] = top

    back = np.argsort(groups.order)
    memory_groups = groups_shape(in_memory.shape, tuple(tile[axis] for axis in groups.order))
    return BlockTensor(
        shape=x.shape,
        exponent=exponent.reshape(memory_groups).transpose(back),
        format=block_format,
        tile=tile,
        values=values.reshape(in_memory.shape).transpose(back),
    )


def _round_piece(x: NDArray[np.float32], values: NDArray[np.float32], p: int) -> NDArray[np.uint32] | None:
    """Round [o, g, i] in groups along the middle axis into ``values``; the exponents [o, i], or None.

    Exact for group exponents E with p + 2 <= E <= 230: the constant and the unit are then normal numbers,
    and all that has e = 0 is below half a unit. All-zero groups borrow E = p + 2.
    """
    magnitude = np.left_shift(x.view(np.uint32), np.uint32(1))
    if x.shape[2] == 1:
        largest = np.maximum.reduce(magnitude[:, :, 0], axis=1)[:, np.newaxis]
    else:
        largest = np.maximum.reduce(magnitude, axis=1)
    top: NDArray[np.uint32] = largest >> np.uint32(_FRACTION_BITS + 1)
    if top.max() > 230 or (top - np.uint32(1)).min() < p + 1:
        return None
    biased = np.maximum(top, np.uint32(p + 2))
    constant_bits = ((biased + np.uint32(_FRACTION_BITS + 1 - p)) << np.uint32(_FRACTION_BITS)) | np.uint32(
        1 << 22
    )
    constant = constant_bits.view(np.float32)[:, np.newaxis, :]
    np.add(x, constant, out=values)
    np.subtract(values, constant, out=values)

    # Only a group whose largest magnitude is within half a unit of 2^p can have been rounded up to it.
    fraction = largest & np.uint32((1 << 24) - 1)
    full = fraction >= np.uint32((1 << 24) - (1 << (24 - p)))
    if full.any():
        outer, inner = np.nonzero(full)
        unit = ((biased[outer, inner] - np.uint32(p - 1)) << np.uint32(_FRACTION_BITS)).view(np.float32)
        limit = (unit * np.float32((1 << p) - 1))[:, np.newaxis]
        at_most = np.minimum(values[outer, :, inner], limit)
        values[outer, :, inner] = np.maximum(at_most, -limit)
    return top
