"""Quantization to block floating point, one element at a time and as the text says (section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockFormat, BlockTensor, Rounding, Sign, cut_tile, groups_shape
from flexc.numerics.errors import require_finite
from flexc.numerics.random_bits import mix


def quantize_reference(
    x: NDArray[np.float32],
    *,
    mantissa_bits: int,
    tile: Sequence[int],
    sign: str = Sign.INCLUDED,
    rounding: str = Rounding.NEAREST,
    seed: int = 0,
    stream: int = 0,
) -> BlockTensor:
    """What :func:`flexc.numerics.quantize` must return; slow."""
    block_format = BlockFormat(mantissa_bits, Sign(sign))
    mode = Rounding(rounding)
    cut = cut_tile(tile, x.shape)
    require_finite(x, "quantize", "x")
    bits = np.ascontiguousarray(x).view(np.int32)

    exponent = np.zeros(groups_shape(x.shape, cut), np.uint8)
    for index in np.ndindex(x.shape):
        group = tuple(i // extent for i, extent in zip(index, cut, strict=True))
        exponent[group] = max(int(exponent[group]), _exponent_field(int(bits[index])))

    mantissa = np.zeros(x.shape, np.int32)
    for flat_index, index in enumerate(np.ndindex(x.shape)):
        group = tuple(i // extent for i, extent in zip(index, cut, strict=True))
        word = int(bits[index])
        e = _exponent_field(word)
        if e == 0:
            continue
        significand = 2**23 + (word & 0x7FFFFF)
        shift = (int(exponent[group]) - e) + 23 - (block_format.magnitude_bits - 1)
        ratio = Fraction(significand, 2**shift)
        if mode is Rounding.TRUNCATE:
            q = floor(ratio)
        elif mode is Rounding.NEAREST:
            q = min(round(ratio), block_format.largest_magnitude)
        else:
            word16 = mix(flat_index * 0x9E3779B9 + mix(seed ^ mix(stream))) >> 16
            q = min(floor(ratio + Fraction(word16, 2**16)), block_format.largest_magnitude)
        mantissa[index] = -q if word < 0 else q
    return BlockTensor.from_planes(mantissa, exponent, block_format, cut)


def _exponent_field(word: int) -> int:
    return word >> 23 & 0xFF
