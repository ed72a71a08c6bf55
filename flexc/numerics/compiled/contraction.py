"""Contraction of dequantized operands, segment by segment (numerics specification, section 2).

A tile of outputs adds up a segment in registers, exactly, so fused multiply-adds change nothing; its partial
sums are rounded once and added to the accumulators in memory. Nothing is gathered into a matrix: the
elements of a segment are neighbours in memory on the left, and each row knows where its own begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray

from flexc.numerics.compiled.jit import emitted, kernel

_WIDE = bool(llvm.get_host_cpu_features().get("avx512f", False))
_VECTOR_BYTES = 64 if _WIDE else 32
_VECTORS = 2
_TILE_ROWS = 8 if _WIDE else 4
_BLOCK_ROWS = 256
_BLOCK_OUTPUTS = 64


def panel_width(dtype: np.dtype[Any]) -> int:
    """The columns of a tile, where products are summed in ``dtype``."""
    return _VECTORS * _VECTOR_BYTES // dtype.itemsize


def panels_of(columns: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Columns [K, N] as panels [ceil(N / width), K, width], filled up with zeros."""
    depth, outputs = columns.shape
    panels = np.zeros((-(-outputs // width), depth, width), np.float32)
    for panel, start in zip(panels, range(0, outputs, width), strict=True):
        part = columns[:, start : start + width]
        panel[:, : part.shape[1]] = part
    return panels


def contract(
    left: NDArray[Any],
    row_starts: NDArray[np.int64],
    segments: Sequence[tuple[int, int]],
    panels: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    y: NDArray[np.float32],
) -> None:
    """y [rows, N] = the sum over the segments, in order, + bias [N]; y may be part of wider rows.

    Segment (start, length) of row m are ``length`` elements of the flat ``left``, from row_starts[m] +
    start on; ``panels`` have the rows of the columns in the order of the segments. ``left`` is of the type in
    which every segment is exact.
    """
    starts, lengths = np.array(segments, np.int64).reshape(-1, 2).T.copy()
    # Of a zero of sign + the sum starts, so that none is negative; without a bias another is added.
    closing = np.zeros(y.shape[1], np.float32) if bias is None else np.ascontiguousarray(bias)
    _contract(left, row_starts, starts, lengths, panels.reshape(-1), panels.shape[2], False, closing, y)


def contract_further(
    left: NDArray[Any],
    row_starts: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    panels: NDArray[np.float32],
    y: NDArray[np.float32],
) -> None:
    """As :func:`contract`, adding to what y is, for segments given as two arrays and flat panels."""
    width = panel_width(left.dtype)
    closing = np.zeros(y.shape[1], np.float32)
    _contract(left, row_starts, starts, lengths, panels, width, True, closing, y)


def _tile(rows: int) -> Any:
    """An intrinsic: add the products of one segment to ``rows`` times a panel's width of accumulators.

    Along the segment, the elements of a row are ``step`` apart and those of a column ``pitch``.
    """

    @emitted
    def add_tile(
        _typing: Any,
        left: Any,
        step: Any,
        row_starts: Any,
        row: Any,
        shift: Any,
        panels: Any,
        pitch: Any,
        panel: Any,
        depth: Any,
        acc: Any,
        width: Any,
    ) -> Any:
        arguments = (left, step, row_starts, row, shift, panels, pitch, panel, depth, acc, width)
        return types.void(*arguments), lambda *given: _emit_tile(rows, *given)

    return add_tile


def _emit_tile(rows: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    def data(i: int) -> Any:
        return context.make_array(signature.args[i])(context, builder, arguments[i]).data

    left, row_starts, panels, acc = data(0), data(2), data(5), data(9)
    step, row, shift, pitch, panel, depth, width = (arguments[i] for i in (1, 3, 4, 6, 7, 8, 10))
    element = ir.FloatType() if signature.args[0].dtype == types.float32 else ir.DoubleType()
    lanes = _VECTOR_BYTES // (4 if element == ir.FloatType() else 8)
    vector, vector32 = ir.VectorType(element, lanes), ir.VectorType(ir.FloatType(), lanes)
    index = depth.type
    fused = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{lanes}f{32 if element == ir.FloatType() else 64}",
    )

    def load32(base: Any, offset: Any) -> Any:
        pointer = builder.bitcast(builder.gep(base, [offset]), vector32.as_pointer())
        return builder.load(pointer, align=4), pointer

    starts = [
        builder.gep(
            left, [builder.add(builder.load(builder.gep(row_starts, [builder.add(row, index(r))])), shift)]
        )
        for r in range(rows)
    ]
    before = builder.block
    loop = builder.append_basic_block("segment")
    after = builder.append_basic_block("rounded")
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(index)
    k.add_incoming(index(0), before)
    sums = [[builder.phi(vector) for _ in range(_VECTORS)] for _ in range(rows)]
    offset = builder.add(panel, builder.mul(k, pitch))
    along = builder.mul(k, step)
    columns = [load32(panels, builder.add(offset, index(v * lanes)))[0] for v in range(_VECTORS)]
    if element != ir.FloatType():
        columns = [builder.fpext(column, vector) for column in columns]
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    for start, of_row in zip(starts, sums, strict=True):
        scalar = builder.load(builder.gep(start, [along]))
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
        spread = builder.shuffle_vector(first, first, zeros)
        for column, total in zip(columns, of_row, strict=True):
            total.add_incoming(ir.Constant(vector, None), before)
            total.add_incoming(builder.call(fused, [spread, column, total]), loop)
    following = builder.add(k, index(1))
    k.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)

    builder.position_at_end(after)
    for r, of_row in enumerate(sums):
        for v, total in enumerate(of_row):
            exact = total.incomings[1][0]
            partial = exact if element == ir.FloatType() else builder.fptrunc(exact, vector32)
            offset = builder.add(builder.mul(builder.add(row, index(r)), width), index(v * lanes))
            value, pointer = load32(acc, offset)
            builder.store(builder.fadd(value, partial), pointer, align=4)
    return context.get_dummy_value()


_add_tile = _tile(_TILE_ROWS)
_add_row = _tile(1)


@kernel
def _contract(
    left: Any,
    row_starts: Any,
    starts: Any,
    lengths: Any,
    panels: Any,
    width: Any,
    further: Any,
    bias: Any,
    y: Any,
) -> None:
    """A block of rows at a time, so that accumulators and the left operand stay in cache."""
    depth = lengths.sum()
    acc = np.empty(_BLOCK_ROWS * width, np.float32)
    for block in range(0, row_starts.size, _BLOCK_ROWS):
        rows = row_starts[block : block + _BLOCK_ROWS]
        tiled = rows.size // _TILE_ROWS * _TILE_ROWS
        for column in range(0, y.shape[1], width):
            acc[:] = np.float32(0)
            if further:
                for row in range(rows.size):
                    before = y[block + row]
                    for j in range(min(width, y.shape[1] - column)):
                        acc[row * width + j] = before[column + j]
            at = column * depth
            for s in range(starts.size):
                for row in range(0, tiled, _TILE_ROWS):
                    _add_tile(left, 1, rows, row, starts[s], panels, width, at, lengths[s], acc, width)
                for row in range(tiled, rows.size):
                    _add_row(left, 1, rows, row, starts[s], panels, width, at, lengths[s], acc, width)
                at += lengths[s] * width
            for row in range(rows.size):
                of_row = y[block + row]
                for j in range(min(width, y.shape[1] - column)):
                    of_row[column + j] = acc[row * width + j] + bias[column + j]


@kernel
def correlate(
    left: Any,
    step: Any,
    left_starts: Any,
    right: Any,
    pitch: Any,
    right_starts: Any,
    runs: Any,
    width: Any,
    y: Any,
) -> None:
    """y [taps, rows, columns]: for each tap, the sum over runs and positions of rounded products of runs.

    Of a run (start, length), element k of a row is ``left[left_starts[position] + k * step + row]``, that of
    a column ``right[right_starts[position, tap] + k * pitch + column]``. ``right`` is read up to a panel's
    ``width`` behind the first column of a panel.
    """
    taps, outputs, columns = y.shape
    for block in range(0, outputs, _BLOCK_OUTPUTS):
        rows = np.arange(block, min(block + _BLOCK_OUTPUTS, outputs))
        tiled = rows.size // _TILE_ROWS * _TILE_ROWS
        size = rows.size * width
        for column in range(0, columns, width):
            sums = np.zeros(taps * size, np.float32)
            for run in range(len(runs)):
                start, length = runs[run]
                for position in range(left_starts.size):
                    shift = left_starts[position] + start * step
                    for tap in range(taps):
                        at = right_starts[position, tap] + start * pitch + column
                        acc = sums[tap * size : (tap + 1) * size]
                        for row in range(0, tiled, _TILE_ROWS):
                            _add_tile(left, step, rows, row, shift, right, pitch, at, length, acc, width)
                        for row in range(tiled, rows.size):
                            _add_row(left, step, rows, row, shift, right, pitch, at, length, acc, width)
            for tap in range(taps):
                for row in range(rows.size):
                    at = tap * size + row * width
                    for j in range(min(width, columns - column)):
                        y[tap, block + row, column + j] = sums[at + j]
