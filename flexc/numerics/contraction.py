"""Contraction of two block tensors, segment by segment, on the BLAS (numerics specification, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction_bounds import bound_pays, columns_bound, rows_bound, rows_exact_as_a_whole
from flexc.numerics.contraction_reference import block_matmul_reference
from flexc.numerics.errors import require_finite
from flexc.numerics.exact_arithmetic import (
    FP32,
    FloatDtype,
    SegmentProduct,
    cannot_overflow,
    columns_of,
    exact_dtype,
)

_ROWS_TO_REUSE_COLUMNS = 256
_BLOCK_BYTES = 1 << 20
_MOST_ROWS_DONE_TWICE = 0.35


def run_slices(length: int, *cuts: tuple[int, int]) -> list[slice]:
    """Cut 0 .. length at the boundaries of every tiling ``(offset, extent)`` laid over it.

    ``offset`` is where index 0 lies in the tiled dimension.
    """
    bounds = {0, length}
    for offset, extent in cuts:
        bounds.update(range(extent - offset % extent, length, extent))
    return [slice(start, stop) for start, stop in pairwise(sorted(bounds))]


def longest(runs: Sequence[slice]) -> int:
    """The length of the longest run (0 without any)."""
    return max((run.stop - run.start for run in runs), default=0)


def rows_per_block(columns: NDArray[Any]) -> int:
    """How many rows to contract at once: few enough for the cache, enough to use the columns again.

    ``columns`` are [..., K, N]; a block holds its rows, their products with the columns, rounded, and sums.
    """
    depth, outputs = columns.shape[-2:]
    itemsize = columns.dtype.itemsize
    of_rows, of_sums = itemsize * depth, (itemsize + 8) * outputs
    return max(_BLOCK_BYTES // int(max(of_rows, of_sums, 1)), _ROWS_TO_REUSE_COLUMNS)


def accumulate_segments(
    rows: NDArray[Any],
    columns: NDArray[Any],
    segments: Sequence[slice],
    bias: NDArray[np.float32] | None,
    acc: NDArray[np.float32],
) -> None:
    """acc[..., M, N] = the sum over segments of ``rows[..., k] @ columns[..., k, :]``, in order, + bias.

    ``rows`` and ``columns`` are dequantized, both in the type that :func:`exact_dtype` gave.
    """
    products = SegmentProduct(acc.shape, rows.dtype)
    at_once = len(segments) == 1 and bias is not None
    # Starting from a zero of sign + leaves no -0 that the BLAS may have made.
    first = bias + np.float32(0) if at_once and bias is not None else np.float32(0)
    if not segments:
        acc.fill(0)
    for position, k in enumerate(segments):
        np.add(acc if position else first, products.of(rows[..., k], columns[..., k, :]), out=acc)
    if bias is not None and not at_once:
        np.add(acc, bias, out=acc)


def contract_rows(
    rows: NDArray[Any],
    columns: NDArray[Any],
    segments: Sequence[slice],
    whole: NDArray[np.bool_] | None,
    bias: NDArray[np.float32] | None,
    acc: NDArray[np.float32],
) -> None:
    """:func:`accumulate_segments` of [M, K] and [K, N]; at once for rows that are exact as a ``whole``.

    A few other rows are cheaper done again than kept out of the product.
    """
    if whole is None or len(segments) == 1:
        accumulate_segments(rows, columns, segments, bias, acc)
        return
    again = np.flatnonzero(~whole)
    if len(again) > _MOST_ROWS_DONE_TWICE * len(whole):
        accumulate_segments(rows, columns, segments, bias, acc)
        return
    accumulate_segments(rows, columns, [slice(0, rows.shape[1])], bias, acc)
    if len(again):
        exact = np.empty((len(again), acc.shape[1]), np.float32)
        accumulate_segments(rows[again], columns, segments, bias, exact)
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
        y = _matmul(a, b, segments, dtype)
        if bias is not None:
            y += bias
    require_finite_result(y, a, b, a.shape[-1], bias, "block_matmul")
    return y


def require_finite_result(
    y: NDArray[np.float32],
    a: BlockTensor,
    b: BlockTensor,
    terms: int,
    bias: NDArray[np.float32] | None,
    op: str,
) -> None:
    """Raise NonFiniteError if ``y``, of outputs of ``terms`` products, or the bias is not finite."""
    if cannot_overflow(a, b, terms, bias):
        return
    if bias is not None:
        require_finite(bias, op, "bias")
    require_finite(y, op, "y")


def _matmul(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    if len(b.shape) > 2:
        return _matmul_batched(a, b, segments, dtype)
    if use_compiled():
        from flexc.numerics.compiled import convolution as compiled

        return compiled.matmul_shared(a, b, segments, dtype)
    return _matmul_shared(a, b, segments, dtype)


def _matmul_shared(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    """Every row of ``a``, whatever its batch, times one matrix."""
    depth, width = b.shape
    rows = a.values.reshape(prod(a.shape[:-1]), depth)
    columns = columns_of(b, "matrix", dtype, lambda values: values)
    whole = None
    if dtype == FP32 and bound_pays(len(segments), len(rows) * width, a.values.size):
        whole = rows_exact_as_a_whole(rows_bound(a), columns_bound(b, axes=(0,)))
    y = np.empty((len(rows), width), np.float32)
    step = rows_per_block(columns)
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        contract_rows(
            rows[block].astype(dtype, copy=False),
            columns,
            segments,
            None if whole is None else whole[block],
            None,
            y[block],
        )
    return y.reshape(*a.shape[:-1], width)


def _matmul_batched(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), np.float32)
    left = a.values.astype(dtype, copy=False)
    right = b.values.astype(dtype, copy=False)
    accumulate_segments(left, right, segments, None, y)
    return y
