"""Contraction of two block tensors, segment by segment, on the BLAS (numerics specification, section 2).

The products of a segment are whole multiples of one power of two. So a float matrix product of the
dequantized operands is exact, in any order and with or without fused multiply-add, as long as the integer
sum fits the significand and that power of two is representable: fp32 for the narrow formats at their
default lengths, fp64 for the wide ones. What fits neither goes to the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import EXPONENT_BIAS, BlockTensor
from flexc.numerics.contraction_bounds import columns_bound, rows_bound, rows_exact_as_a_whole
from flexc.numerics.contraction_reference import block_matmul_reference
from flexc.numerics.errors import require_finite

FloatDtype = np.dtype[np.float32] | np.dtype[np.float64]
FP32: np.dtype[np.float32] = np.dtype(np.float32)
FP64: np.dtype[np.float64] = np.dtype(np.float64)

_BLOCK_BYTES = 1 << 20
_LEAST_SUBNORMAL_EXPONENT = -149
_MOST_ROWS_DONE_TWICE = 0.35


def exact_dtype(a: BlockTensor, b: BlockTensor, longest_segment: int) -> FloatDtype | None:
    """The narrowest float type in which the sum of any segment of the two is exact, or None.

    fp64 is then rounded to fp32 once. Its exponents reach further than any two units' sum, so only fp32
    needs the range of the exponents checked.
    """
    largest_sum = longest_segment * a.format.largest_magnitude * b.format.largest_magnitude
    if largest_sum > 1 << 53:
        return None
    if largest_sum > 1 << 24:
        return FP64
    a_range, b_range = a.exponent_range(), b.exponent_range()
    if a_range is None or b_range is None:
        return FP32
    bias = 2 * EXPONENT_BIAS + a.format.magnitude_bits + b.format.magnitude_bits - 2
    unit_least = a_range[0] + b_range[0] - bias
    unit_most = a_range[1] + b_range[1] - bias
    in_range = unit_least >= _LEAST_SUBNORMAL_EXPONENT and unit_most + largest_sum.bit_length() <= 127
    return FP32 if in_range else FP64


def run_slices(length: int, *cuts: tuple[int, int]) -> list[slice]:
    """Cut 0 .. length at the boundaries of every tiling ``(offset, extent)`` laid over it.

    ``offset`` is where index 0 lies in the tiled dimension.
    """
    bounds = {0, length}
    for offset, extent in cuts:
        bounds.update(range(extent - offset % extent, length, extent))
    ordered = sorted(bounds)
    return [slice(start, stop) for start, stop in pairwise(ordered)]


def longest(runs: Sequence[slice]) -> int:
    """The length of the longest run (0 without any)."""
    return max((run.stop - run.start for run in runs), default=0)


def accumulate_segments(
    rows: NDArray[Any], columns: NDArray[Any], segments: Sequence[slice], acc: NDArray[np.float32]
) -> None:
    """acc[..., M, N] = the sum over segments of ``rows[..., k] @ columns[..., k, :]``, in fp32, in order.

    ``rows`` and ``columns`` are dequantized, both in the type that :func:`exact_dtype` gave.
    """
    exact = np.empty(acc.shape, rows.dtype)
    narrow = exact if rows.dtype == FP32 else np.empty(acc.shape, np.float32)
    if not segments:
        acc.fill(0)
    for position, k in enumerate(segments):
        np.matmul(rows[..., k], columns[..., k, :], out=exact)
        if narrow is not exact:
            np.copyto(narrow, exact, casting="same_kind")
        # Starting from +0 also turns a -0 product of the BLAS into +0.
        np.add(acc if position else np.float32(0), narrow, out=acc)


def contract_rows(
    rows: NDArray[Any],
    columns: NDArray[Any],
    segments: Sequence[slice],
    whole: NDArray[np.bool_] | None,
    acc: NDArray[np.float32],
) -> None:
    """acc[M, N] = rows[M, K] @ columns[K, N] in segments; at once for rows that are exact ``whole``.

    A few other rows are cheaper done again than kept out of the product.
    """
    if whole is None or len(segments) == 1:
        accumulate_segments(rows, columns, segments, acc)
        return
    again = np.flatnonzero(~whole)
    if len(again) > _MOST_ROWS_DONE_TWICE * len(whole):
        accumulate_segments(rows, columns, segments, acc)
        return
    accumulate_segments(rows, columns, [slice(0, rows.shape[1])], acc)
    if len(again):
        exact = np.empty((len(again), acc.shape[1]), np.float32)
        accumulate_segments(rows[again], columns, segments, exact)
        acc[again] = exact


def block_matmul(
    a: BlockTensor, b: BlockTensor, bias: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``a[..., M, K] @ b[..., K, N] + bias``; batch dimensions broadcast, and so does ``bias`` to the result.

    Raises ValueError for shapes that do not belong together, NonFiniteError where a rounding overflows.
    """
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul of shapes {list(a.shape)} and {list(b.shape)}")
    segments = run_slices(a.shape[-1], (0, a.tile[-1]), (0, b.tile[-2]))
    dtype = exact_dtype(a, b, longest(segments))
    if dtype is None:
        return block_matmul_reference(a, b, bias)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        y = (
            _matmul_shared(a, b, segments, dtype)
            if len(b.shape) == 2
            else _matmul_batched(a, b, segments, dtype)
        )
    return finish(y, bias, "block_matmul")


def finish(y: NDArray[np.float32], bias: NDArray[np.float32] | None, op: str) -> NDArray[np.float32]:
    """Add ``bias`` in place, and check that the result is finite."""
    if bias is not None:
        require_finite(bias, op, "bias")
        with np.errstate(over="ignore", invalid="ignore"):
            y += bias
    require_finite(y, op, "y")
    return y


def _matmul_shared(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    """Every row of ``a``, whatever its batch, times one matrix."""
    depth, columns = b.shape
    rows = a.values.reshape(-1, depth)
    weights = b.prepared(("columns", dtype), lambda: b.values.astype(dtype, copy=False))
    whole = None
    if dtype == FP32 and len(segments) > 1:
        whole = rows_exact_as_a_whole(rows_bound(a), columns_bound(b, axes=(0,)))
    y = np.empty((len(rows), columns), np.float32)
    step = max(1, _BLOCK_BYTES // (dtype.itemsize * max(depth, columns, 1)))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        contract_rows(
            rows[block].astype(dtype, copy=False),
            weights,
            segments,
            None if whole is None else whole[block],
            y[block],
        )
    return y.reshape(*a.shape[:-1], columns)


def _matmul_batched(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), np.float32)
    accumulate_segments(a.values.astype(dtype, copy=False), b.values.astype(dtype, copy=False), segments, y)
    return y
