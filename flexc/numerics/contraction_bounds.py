"""When the sum of all segments of an output needs no rounding at all, whatever the order.

Every product of an output is a multiple of (least unit of its row) * (least unit of its column), and by
Cauchy and Schwarz no sum of some of its products exceeds the product of the two Euclidean norms. If that
is below 2^24 such multiples, each partial sum has at most 24 bits and fp32 holds it: one full-length
matrix product gives the bits that adding segment after segment would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import EXPONENT_BIAS, BlockTensor

NO_GROUP = 255
"""Stands for the exponent where every group holds zeros."""
# Squares of values between these exponents, and their sums, neither underflow nor overflow in fp32.
_LEAST_EXPONENT = 90
_LARGEST_EXPONENT = 165
# Norms are summed in fp32; 2 % covers the rounding of 2^17 terms with a wide margin.
_LIMIT = 0.98 * 2.0**24
_MOST_TERMS = 1 << 17
# Of a look at the rows, in additions of an element to an accumulator.
_FIXED_COST = 1_000_000


@dataclass(frozen=True)
class LengthBound:
    """Squared Euclidean lengths, and the least exponent of the groups that are not zero (255 if all are)."""

    squared: NDArray[np.float64]
    exponent: NDArray[np.uint8]
    magnitude_bits: int

    def in_units(self) -> NDArray[np.float64]:
        """Lengths as multiples of the least unit."""
        unit_exponent = self.exponent.astype(np.int32) - (EXPONENT_BIAS + self.magnitude_bits - 1)
        return np.ldexp(np.sqrt(self.squared), -unit_exponent)


def rows_exact_as_a_whole(rows: LengthBound | None, columns: LengthBound | None) -> NDArray[np.bool_] | None:
    """Which rows are exact against every column; None where lengths are unknown."""
    if rows is None or columns is None:
        return None
    longest_column = float(columns.in_units().max(initial=0.0))
    return rows.in_units().ravel() * longest_column < _LIMIT


def bound_pays(segments: int, outputs: int, elements: int) -> bool:
    """Whether to look for rows that are exact as a whole: an estimate of additions saved against work done.

    ``outputs`` are all outputs of the contraction, ``elements`` those of the operand whose rows are measured.
    """
    return (segments - 1) * outputs > 2 * elements + _FIXED_COST


def least_exponent(t: BlockTensor, axes: tuple[int, ...]) -> NDArray[np.uint8]:
    """The least exponent of the nonzero groups along ``axes``, an entry for each index of the other axes."""
    exponent: NDArray[np.uint8]
    exponent = np.where(t.exponent == 0, np.uint8(NO_GROUP), t.exponent).min(axis=axes, initial=NO_GROUP)
    kept = [axis for axis in range(len(t.shape)) if axis not in axes]
    for position, axis in enumerate(kept):
        if t.tile[axis] > 1:
            exponent = np.repeat(exponent, t.tile[axis], axis=position)
            exponent = exponent[(slice(None),) * position + (slice(0, t.shape[axis]),)]
    return exponent


def squares_are_safe(t: BlockTensor, terms: int) -> bool:
    """Whether ``terms`` squares of the tensor's elements can be summed in fp32 to well within the margin."""
    exponents = t.exponent_range()
    if exponents is None:
        return True
    return exponents[0] >= _LEAST_EXPONENT and exponents[1] <= _LARGEST_EXPONENT and terms <= _MOST_TERMS


def rows_bound(a: BlockTensor) -> LengthBound | None:
    """Lengths of the rows (the last axis) of ``a``."""
    if not squares_are_safe(a, a.shape[-1]):
        return None
    squared = np.einsum("...k,...k->...", a.values, a.values).astype(np.float64)
    return LengthBound(squared, least_exponent(a, (len(a.shape) - 1,)), a.format.magnitude_bits)


def columns_bound(b: BlockTensor, axes: tuple[int, ...]) -> LengthBound | None:
    """Lengths of the columns of a weight whose reduced axes are ``axes``; computed once a tensor."""
    terms = int(np.prod([b.shape[axis] for axis in axes]))
    if not squares_are_safe(b, terms):
        return None
    squared = b.prepared(("squared", axes), lambda: np.square(b.values.astype(np.float64)).sum(axis=axes))
    exponent = b.prepared(("least exponent", axes), lambda: least_exponent(b, axes))
    return LengthBound(squared, exponent, b.format.magnitude_bits)
