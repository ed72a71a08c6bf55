"""Quantization to block floating point, and its zero-setting error (numerics specification, section 1).

Two exact ways: :mod:`quantization_along_axis` for rounding to nearest in groups along one axis, which is
nearly every tensor; here, for all else, integer significands are shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

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
from flexc.numerics.quantization_along_axis import quantize_along_axis
from flexc.numerics.random_bits import random_bits, random_bits_at

_FRACTION_BITS = 23
Exponent = TypeVar("Exponent", np.uint8, np.int32)


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
    _require_float32(x)
    cut = cut_tile(tile, x.shape)
    if mode is Rounding.NEAREST:
        fast = quantize_along_axis(x, block_format, cut)
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
    block_format = BlockFormat(mantissa_bits, Sign(sign))
    _require_float32(x)
    cut = cut_tile(tile, x.shape)
    require_finite(x, "quantize", "x")
    e = _exponent_bits(x).astype(np.uint8)
    # A leading bit is lost p places or more below the leading bit of the largest element.
    below = expand_groups(_group_maximum(e, cut), x.shape, cut) - e
    nonzero = int(np.count_nonzero(e))
    set_to_zero = int(np.count_nonzero((below >= block_format.magnitude_bits) & (e > 0)))
    if count_zeros:
        return (x.size - nonzero + set_to_zero) / x.size if x.size else 0.0
    return set_to_zero / nonzero if nonzero else 0.0


def _require_float32(x: NDArray[np.float32]) -> None:
    if x.dtype != np.float32:
        raise TypeError(f"quantize takes fp32, not {x.dtype}")


def _exponent_bits(x: NDArray[np.float32]) -> NDArray[np.int32]:
    """Sign and biased exponent of each element, in order of memory: the exponent is the low 8 bits."""
    bits = x.view(np.int32) if x.flags.c_contiguous else x.copy(order="K").view(np.int32)
    return bits >> _FRACTION_BITS


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


def _group_maximum(e: NDArray[Exponent], tile: tuple[int, ...]) -> NDArray[Exponent]:
    if e.size == 0:
        return np.zeros(groups_shape(e.shape, tile), e.dtype)
    for axis, extent in enumerate(tile):
        if extent > 1:
            e = np.maximum.reduceat(e, np.arange(0, e.shape[axis], extent), axis=axis)
    return e
