"""Small floating point: minifloats and the ten-bit group format of LightNorm (section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import Rounding
from flexc.numerics.errors import require_finite

_SIGN = np.int32(-(1 << 31))
_MAGNITUDE = np.int32(0x7FFFFFFF)
CHANNELS_PER_GROUP = 4
FORWARD_BITS = 7
BACKWARD_BITS = 6


@dataclass(frozen=True)
class MinifloatFormat:
    """A sign, ``exponent_bits`` and ``fraction_bits``; no infinities, no subnormals.

    Raises ValueError unless fp32 holds every value: 2 to 8 exponent bits, 0 to 23 fraction bits.
    """

    exponent_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        if not (2 <= self.exponent_bits <= 8 and 0 <= self.fraction_bits <= 23):
            raise ValueError(
                f"minifloat with exponent_bits {self.exponent_bits} and fraction_bits {self.fraction_bits}: "
                "2 to 8 and 0 to 23 are possible"
            )

    @property
    def least_exponent(self) -> int:
        """The exponent of the smallest value."""
        return -((1 << (self.exponent_bits - 1)) - 2)

    @property
    def largest_exponent(self) -> int:
        """The exponent of the largest value."""
        return (1 << (self.exponent_bits - 1)) - 1


FP10A = MinifloatFormat(5, 4)
FP10B = MinifloatFormat(6, 3)
STATS = MinifloatFormat(5, 12)


def minifloat(
    x: NDArray[np.float32], *, exponent_bits: int, fraction_bits: int, rounding: str = Rounding.NEAREST
) -> NDArray[np.float32]:
    """Round ``x`` to a minifloat: +0 below the smallest value, the largest value above it.

    Raises NonFiniteError for a NaN or an infinity, ValueError for a format or rounding that does not exist.
    """
    return round_to(x, MinifloatFormat(exponent_bits, fraction_bits), rounding, "minifloat", "x")


def round_to(
    x: NDArray[np.float32], to: MinifloatFormat, rounding: str, op: str, tensor: str
) -> NDArray[np.float32]:
    """:func:`minifloat`, with errors in the name of an operation and a tensor of its."""
    nearest = _is_nearest(rounding)
    require_finite(x, op, tensor)
    return round_bits(x, to, nearest=nearest)


def round_bits(x: NDArray[np.float32], to: MinifloatFormat, *, nearest: bool) -> NDArray[np.float32]:
    """:func:`minifloat` of values known to be finite."""
    bits = np.array(x, np.float32, order="K").view(np.int32)
    magnitude = bits & _MAGNITUDE
    too_small = magnitude < np.int32((to.least_exponent + 127) << 23)
    dropped = 23 - to.fraction_bits
    if dropped:
        if nearest:
            magnitude += np.int32((1 << (dropped - 1)) - 1) + ((magnitude >> np.int32(dropped)) & np.int32(1))
        magnitude &= np.int32(-1 << dropped)
    largest = ((to.largest_exponent + 127) << 23) | (0x7FFFFF & (-1 << dropped))
    np.minimum(magnitude, np.int32(largest), out=magnitude)
    magnitude |= bits & _SIGN
    magnitude[too_small] = 0
    return magnitude.view(np.float32)


def round_fp64_to(x: NDArray[np.float64], to: MinifloatFormat, rounding: str) -> NDArray[np.float32]:
    """Round finite fp64 ``x`` to a minifloat in one rounding."""
    nearest = _is_nearest(rounding)
    magnitude = np.abs(x)
    _, exponent = np.frexp(magnitude)
    last_place = exponent - 1 - to.fraction_bits
    scaled = np.ldexp(magnitude, -last_place)
    rounded = np.ldexp(np.rint(scaled) if nearest else np.floor(scaled), last_place)
    largest = np.ldexp(2.0 - 2.0**-to.fraction_bits, to.largest_exponent)
    kept = np.where(magnitude < 2.0**to.least_exponent, 0.0, np.minimum(rounded, largest))
    return np.where(x < 0, 0.0 - kept, kept).astype(np.float32)


def bfp10(x: NDArray[np.float32], *, bits: int) -> NDArray[np.float32]:
    """Truncate groups of 4 consecutive channels of x [N, C, ...] against their second largest exponent.

    The elements of the largest exponent pass unchanged; one whose exponent is d below the second largest
    keeps bits - d - 1 fraction bits, or becomes +0. Raises NonFiniteError for a NaN or an infinity,
    ValueError for a rank below 2 or ``bits`` below 1.
    """
    if x.ndim < 2:
        raise ValueError(f"bfp10 takes [N, C, ...], not shape {list(x.shape)}")
    if bits < 1:
        raise ValueError(f"bfp10 of {bits} bits")
    require_finite(x, "bfp10", "x")
    return truncate_groups(x, bits)


def truncate_groups(x: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """:func:`bfp10` of values known to be finite."""
    last = np.moveaxis(x, 1, -1)
    channels = last.shape[-1]
    padded_channels = -(-channels // CHANNELS_PER_GROUP) * CHANNELS_PER_GROUP
    words = np.zeros((*last.shape[:-1], padded_channels), np.float32)
    words[..., :channels] = last
    groups = words.view(np.int32).reshape(-1, CHANNELS_PER_GROUP)
    e = (groups >> np.int32(23)) & np.int32(0xFF)
    first_two, last_two = np.sort(e[:, :2], axis=1), np.sort(e[:, 2:], axis=1)
    largest = np.maximum(first_two[:, 1], last_two[:, 1])
    second = np.maximum(
        np.minimum(first_two[:, 1], last_two[:, 1]), np.maximum(first_two[:, 0], last_two[:, 0])
    )
    kept = np.int32(bits - 1) - (second[:, np.newaxis] - e)
    kept[e == largest[:, np.newaxis]] = 23
    dropped = np.int32(23) - np.clip(kept, 0, 23)
    groups &= np.int32(-1) << dropped
    groups[(kept < 0) | (e == 0)] = 0
    return np.moveaxis(words[..., :channels], -1, 1)


def _is_nearest(rounding: str) -> bool:
    mode = Rounding(rounding)
    if mode is Rounding.STOCHASTIC:
        raise ValueError("a minifloat is rounded to nearest or truncated, not stochastically")
    return mode is Rounding.NEAREST
