"""Small floating point: one rounding to a sign, a few exponent bits and a few fraction bits (section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import Rounding
from flexc.numerics.elementwise import memory_order
from flexc.numerics.errors import require_finite

_FRACTION_BITS = 23
_MAGNITUDE = 0x7FFFFFFF
_BLOCK_ELEMENTS = 1 << 15
_FLOAT32_MAX = float(np.finfo(np.float32).max)


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

    @property
    def least_bits(self) -> int:
        """The smallest value as an fp32 word."""
        return (self.least_exponent + 127) << _FRACTION_BITS

    @property
    def largest(self) -> float:
        """The largest value."""
        return float(2.0**self.largest_exponent * (2.0 - 2.0**-self.fraction_bits))


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
    nearest = is_nearest(rounding)
    rounded = np.array(x, np.float32, order="K")
    dense = rounded.transpose(memory_order(rounded)).reshape(-1)
    work = aligned_empty((min(dense.size, _BLOCK_ELEMENTS),), np.int32)
    for start in range(0, dense.size, _BLOCK_ELEMENTS):
        block = dense[start : start + _BLOCK_ELEMENTS]
        bound = largest_magnitude(block)
        if not np.isfinite(bound):
            require_finite(x, op, tensor)
        round_block(block, work[: block.size], to, nearest, bound)
    return rounded


def largest_magnitude(x: NDArray[np.float32]) -> float:
    """The largest magnitude in x, which is not empty; NaN or infinity when there is one."""
    return float(np.maximum(x.max(), -x.min()))


def round_block(
    x: NDArray[np.float32], work: NDArray[np.int32], to: MinifloatFormat, nearest: bool, bound: float
) -> None:
    """Round finite x in place.

    No magnitude may be above ``bound``; ``work`` is overwritten, and has the shape of x.
    """
    if bound > to.largest:
        np.minimum(x, np.float32(to.largest), out=x)
        np.maximum(x, np.float32(-to.largest), out=x)
    words = x.view(np.int32)
    # All ones where the magnitude reaches the smallest value: the difference is then negative.
    np.bitwise_and(words, _MAGNITUDE, out=work)
    np.subtract(to.least_bits - 1, work, out=work)
    np.right_shift(work, 31, out=work)
    np.bitwise_and(words, work, out=words)
    dropped = _FRACTION_BITS - to.fraction_bits
    if dropped == 0:
        return
    if not nearest:
        np.bitwise_and(words, -1 << dropped, out=words)
        return
    splitter = float((1 << dropped) + 1)
    if min(bound, to.largest) * splitter < _FLOAT32_MAX:
        # Veltkamp's splitting: three fp32 operations round to nearest, ties to even, whatever the fraction.
        product = np.multiply(x, np.float32(splitter), out=work.view(np.float32))
        np.subtract(product, x, out=x)
        np.subtract(product, x, out=x)
        return
    # Just under half a unit, and one more where the last bit kept is odd, as a leading 1 that is kept alone
    # always is; a carry raises the exponent.
    half = 1 << (dropped - 1)
    if to.fraction_bits == 0:
        np.add(words, half, out=words)
    else:
        np.right_shift(words, dropped, out=work)
        np.bitwise_and(work, 1, out=work)
        np.add(work, half - 1, out=work)
        np.add(words, work, out=words)
    np.bitwise_and(words, -1 << dropped, out=words)


def round_fp64_to(x: NDArray[np.float64], to: MinifloatFormat, rounding: str) -> NDArray[np.float32]:
    """Round finite fp64 ``x`` to a minifloat in one rounding."""
    nearest = is_nearest(rounding)
    magnitude = np.abs(x)
    _, exponent = np.frexp(magnitude)
    last_place = exponent - 1 - to.fraction_bits
    scaled = np.ldexp(magnitude, -last_place)
    rounded = np.ldexp(np.rint(scaled) if nearest else np.floor(scaled), last_place)
    kept = np.where(magnitude < 2.0**to.least_exponent, 0.0, np.minimum(rounded, to.largest))
    return np.where(x < 0, 0.0 - kept, kept).astype(np.float32)


def is_nearest(rounding: str) -> bool:
    """Whether a minifloat is rounded to nearest; if not, it is truncated.

    Raises ValueError for any other rounding.
    """
    mode = Rounding(rounding)
    if mode is Rounding.STOCHASTIC:
        raise ValueError("a minifloat is rounded to nearest or truncated, not stochastically")
    return mode is Rounding.NEAREST
