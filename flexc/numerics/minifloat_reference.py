"""Minifloats and the ten-bit group format, one element at a time and as the text says (section 5)."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite

CHANNELS_PER_GROUP = 4


def minifloat_reference(
    x: NDArray[np.float32], *, exponent_bits: int, fraction_bits: int, rounding: str = Rounding.NEAREST
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.minifloat` must return; slow."""
    require_finite(x, "minifloat", "x")
    least_exponent, largest_exponent = -(2 ** (exponent_bits - 1) - 2), 2 ** (exponent_bits - 1) - 1
    least = Fraction(2) ** least_exponent
    largest = Fraction(2) ** largest_exponent * (2 - Fraction(1, 2**fraction_bits))
    to_whole = floor if Rounding(rounding) is Rounding.TRUNCATE else round
    y = np.zeros(x.shape, np.float32)
    for index in np.ndindex(x.shape):
        magnitude = abs(Fraction(float(x[index])))
        if magnitude < least:
            continue
        exponent = least_exponent
        while magnitude >= Fraction(2) ** (exponent + 1):
            exponent += 1
        unit = Fraction(2) ** (exponent - fraction_bits)
        rounded = min(to_whole(magnitude / unit) * unit, largest)
        y[index] = np.copysign(np.float32(float(rounded)), x[index])
    return y


def bfp10_reference(x: NDArray[np.float32], *, bits: int) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.bfp10` must return for x [N, C, ...]; slow."""
    require_finite(x, "bfp10", "x")
    y = np.zeros(x.shape, np.float32)
    words = np.ascontiguousarray(x).view(np.uint32)
    for n, first in np.ndindex(x.shape[0], -(-x.shape[1] // CHANNELS_PER_GROUP)):
        channels = range(first * CHANNELS_PER_GROUP, min((first + 1) * CHANNELS_PER_GROUP, x.shape[1]))
        for position in np.ndindex(x.shape[2:]):
            exponents = [int(words[n, c, *position]) >> 23 & 0xFF for c in channels]
            e1, e2 = [*sorted(exponents, reverse=True), 0][:2]
            for c, e in zip(channels, exponents, strict=True):
                kept = 23 if e == e1 else bits - (e2 - e) - 1
                if e == 0 or kept < 0:
                    continue
                mask = -1 << (23 - min(kept, 23)) & 0xFFFFFFFF
                y[n, c, *position] = np.uint32(int(words[n, c, *position]) & mask).view(np.float32)
    return y
