"""Which float arithmetic sums the products of a segment exactly (numerics specification, section 2).

The products of a segment are whole multiples of one power of two. So a float matrix product of the
dequantized operands is exact, in any order and with or without fused multiply-add, as long as the integer
sum fits the significand and that power of two is representable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import EXPONENT_BIAS, BlockTensor

FloatDtype = np.dtype[np.float32] | np.dtype[np.float64]
FP32: np.dtype[np.float32] = np.dtype(np.float32)
FP64: np.dtype[np.float64] = np.dtype(np.float64)

_LEAST_SUBNORMAL_EXPONENT = -149


def exact_dtype(a: BlockTensor, b: BlockTensor, longest_segment: int) -> FloatDtype | None:
    """The narrowest float type in which the sum of any segment of the two is exact, or None if there is none.

    The exponents of fp64 reach further than the sum of any two units, so only fp32 needs theirs checked.
    """
    largest_sum = longest_segment * a.format.largest_magnitude * b.format.largest_magnitude
    if largest_sum > 1 << 53:
        return None
    return FP32 if largest_sum <= 1 << 24 and _units_are_in_range(a, b, largest_sum) else FP64


def _units_are_in_range(a: BlockTensor, b: BlockTensor, largest_sum: int) -> bool:
    """Whether the least unit of a product is an fp32 number, and no sum of a segment overflows."""
    a_range, b_range = a.exponent_range(), b.exponent_range()
    if a_range is None or b_range is None:
        return True
    bias = 2 * EXPONENT_BIAS + a.format.magnitude_bits + b.format.magnitude_bits - 2
    least_unit = a_range[0] + b_range[0] - bias
    largest_unit = a_range[1] + b_range[1] - bias
    return least_unit >= _LEAST_SUBNORMAL_EXPONENT and largest_unit + largest_sum.bit_length() <= 127


def cannot_overflow(a: BlockTensor, b: BlockTensor, terms: int, bias: NDArray[np.float32] | None) -> bool:
    """Whether the exponents alone show that no output of ``terms`` products and a finite bias overflows."""
    a_range, b_range = a.exponent_range(), b.exponent_range()
    largest_bias = 0.0 if bias is None else float(np.abs(bias).max(initial=0.0))
    if not largest_bias < 2.0**125:
        return False
    if a_range is None or b_range is None:
        return True
    largest_product = a_range[1] + b_range[1] - 2 * (EXPONENT_BIAS - 1)
    return largest_product + terms.bit_length() <= 125


def columns_of(
    b: BlockTensor,
    name: str,
    dtype: FloatDtype,
    layout: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[Any]:
    """The values of a weight in a layout [..., K, N], contiguous and in ``dtype``; made once a tensor."""
    return b.prepared((name, dtype), lambda: np.ascontiguousarray(layout(b.values), dtype))


class SegmentProduct:
    """RN32(rows @ columns) of one segment after the other, in the same scratch memory."""

    def __init__(self, shape: tuple[int, ...], dtype: FloatDtype) -> None:
        """Products have ``shape``; operands are of ``dtype``."""
        self._rounded = aligned_empty(shape, np.float32)
        self._exact: NDArray[Any] = self._rounded if dtype == FP32 else aligned_empty(shape, dtype)

    def of(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """The rounded product of [..., M, k] and [..., k, N]; the next call overwrites it."""
        np.matmul(rows, columns, out=self._exact)
        if self._rounded is not self._exact:
            np.copyto(self._rounded, self._exact, casting="same_kind")
        return self._rounded
