"""The operands of a compute record, dequantized and laid out for products of matrices.

A tile of operand a has the rows and columns that outputs and kernel positions read, each once: row
``p * output_step + r * tap_step`` for output row p and kernel row r, where the operand's strides allow it,
otherwise one for every (p, r).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import COMPUTE_DIMS, CORE_AXES, FORMAT_BITS, Format
from flexc.backends.stream.segments import GroupAxis, Groups, Segments

Array = NDArray[Any]
G, N, P, Q, OUT, K, R, S = range(len(COMPUTE_DIMS))
AXES = tuple(range(CORE_AXES))
DIMENSIONS = tuple(range(CORE_AXES, CORE_AXES + len(COMPUTE_DIMS)))
EXPONENT_BIAS = 127
_FP32_SUM_BITS = 24
_LEAST_UNIT = -149
_ANY_EXPONENTS = (EXPONENT_BIAS, EXPONENT_BIAS)


def exact_in_fp32(
    longest: int,
    product_bits: int,
    a_exponents: tuple[int, int] = _ANY_EXPONENTS,
    b_exponents: tuple[int, int] = _ANY_EXPONENTS,
) -> bool:
    """Whether products and sums of dequantized elements are exact in fp32 within segments up to ``longest``.

    Exponents are the least above 0 and the largest of each operand.
    """
    if longest << product_bits > 1 << _FP32_SUM_BITS:
        return False
    least_unit = a_exponents[0] + b_exponents[0] - 2 * EXPONENT_BIAS - (product_bits - 2)
    largest_sum = a_exponents[1] + b_exponents[1] - 2 * EXPONENT_BIAS + 2 + longest.bit_length()
    return least_unit >= _LEAST_UNIT and largest_sum < 128


@dataclass(frozen=True)
class WindowAxis:
    """Rows (or columns) that ``extent`` of a tile hold for outputs and kernel positions."""

    extent: int
    output_step: int
    tap_step: int

    def positions(self, outputs: int, tap: int) -> slice:
        """Those that ``outputs`` outputs read at one kernel position."""
        first = tap * self.tap_step
        return slice(first, first + (outputs - 1) * self.output_step + 1, self.output_step)


def merge_window(outputs: int, taps: int, strides: list[tuple[int, int]]) -> WindowAxis | None:
    """How outputs and kernel positions share rows, given the (output, tap) strides of both planes.

    None where the strides of the planes do not allow it.
    """
    if taps == 1:
        return WindowAxis(outputs, 1, 1)
    if outputs == 1:
        return WindowAxis(taps, 1, 1)
    output_stride, tap_stride = strides[0]
    unit = gcd(output_stride, tap_stride)
    if min(output_stride, tap_stride) <= 0:
        return None
    output_step, tap_step = output_stride // unit, tap_stride // unit
    if any(of_output * tap_step != of_tap * output_step for of_output, of_tap in strides):
        return None
    return WindowAxis((outputs - 1) * output_step + (taps - 1) * tap_step + 1, output_step, tap_step)


def merged_stride(outputs: int, taps: int, window: WindowAxis, strides: tuple[int, int]) -> int:
    """The stride from row to row of a merged window."""
    if taps == 1:
        return strides[0]
    return strides[1] if outputs == 1 else strides[0] // window.output_step


@dataclass(frozen=True, eq=False)
class Arrangement:
    """The order of dimensions in which outputs are accumulated; there is one object for each.

    Core axes along which both operands differ (or neither) and g are the batch; those of a alone go with the
    rows, those of b alone with the columns, so that a segment is one product of matrices a batch. Where k
    has one element, as in a depthwise convolution, it is an elementwise product with g innermost.
    """

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    elementwise: bool

    @classmethod
    @cache
    def of(cls, a_cores: tuple[int, ...], b_cores: tuple[int, ...], elementwise: bool) -> Arrangement:
        """For operands that differ between so many cores along each core axis."""
        if elementwise:
            return cls(AXES, (), (), True)
        rows = tuple(axis for axis in AXES if a_cores[axis] > 1 and b_cores[axis] == 1)
        columns = tuple(axis for axis in AXES if a_cores[axis] == 1 and b_cores[axis] > 1)
        return cls(tuple(axis for axis in AXES if axis not in rows + columns), rows, columns, False)

    @cached_property
    def stored(self) -> tuple[int, ...]:
        """Where [core axes, g, n, p, q, o] are in ``outputs``."""
        return tuple(self.outputs.index(d) for d in range(CORE_AXES + K))

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The order of [core axes, g, n, p, q, o]."""
        g, n, p, q, o = (CORE_AXES + d for d in (G, N, P, Q, OUT))
        if self.elementwise:
            return (*AXES, n, p, q, o, g)
        return (*self.batch, g, *self.rows, n, p, q, *self.columns, o)

    def matrices(self, total: Array) -> Array:
        """Accumulators in the order of ``outputs`` as [batch, g, rows, columns]; a view."""
        if self.elementwise:
            return total
        at_rows = len(self.batch) + 1
        at_columns = at_rows + len(self.rows) + 3
        return total.reshape(*total.shape[:at_rows], prod(total.shape[at_rows:at_columns]), -1)


@lru_cache
def unit_values(fmt: Format, dtype: type[np.floating[Any]]) -> Array:
    """A mantissa's unit for each biased exponent E, 2^(E - 127 - (p - 1)) with p = bits - 1; exact."""
    return np.ldexp(dtype(1), np.arange(256) - (EXPONENT_BIAS + FORMAT_BITS[fmt] - 2)).astype(dtype)


@dataclass(frozen=True)
class Units:
    """Mantissa units for positions [first, end) along k: [core axes, g n p q o k r s], k with one element
    or one for each position."""

    first: int
    end: int
    values: Array


def units_along(units: Array, axis: GroupAxis, groups: Groups) -> list[Units]:
    """The units of a box, from those of its groups: one for each of ``groups`` [core axes, g, k]'s range."""
    index = groups - groups.min()
    length = groups.shape[-1]
    if axis.along_g or axis.g_weight > 0 or max(index.shape[:CORE_AXES]) > 1:
        along = CORE_AXES + (G if axis.along_g else K)
        k_index = index[..., :1] if axis.along_g else index
        shape = (*k_index.shape[:-1], 1, 1, 1, 1, k_index.shape[-1], 1, 1)
        return [Units(0, length, np.take_along_axis(units, k_index.reshape(shape), along))]
    of_k = index[0, 0, 0, 0]
    bounds = [0, *(np.flatnonzero(np.diff(of_k)) + 1).tolist(), length]
    return [
        Units(first, end, units.take([of_k[first]], axis=CORE_AXES + K)) for first, end in pairwise(bounds)
    ]


def lay_out_a(mantissa: Array, units: list[Units], arrangement: Arrangement, dtype: Any) -> Array:
    """[batch, g, rows of cores, n, rows, columns, k] of [core axes, g, n, rows, columns, 1, k, 1, 1].

    Elementwise: [core axes, n, rows, columns, 1, g].
    """
    g, n, p, q, o, k, *_ = DIMENSIONS
    if arrangement.elementwise:
        return _dequantize(mantissa, units, (*AXES, n, p, q, o, g), dtype)
    return _dequantize(mantissa, units, (*arrangement.batch, g, *arrangement.rows, n, p, q, k), dtype)


def lay_out_b(mantissa: Array, units: list[Units], arrangement: Arrangement, dtype: Any) -> Array:
    """[batch, g, r, s, k, columns] of [core axes, g, 1, 1, 1, o, k, r, s].

    Elementwise: [core axes, r, s, o, g].
    """
    g, _, _, _, o, k, r, s = DIMENSIONS
    if arrangement.elementwise:
        return _dequantize(mantissa, units, (*AXES, r, s, o, g), dtype)
    laid = _dequantize(mantissa, units, (*arrangement.batch, g, r, s, k, *arrangement.columns, o), dtype)
    lead = laid.shape[: len(arrangement.batch) + 4]
    return laid.reshape(*lead, -1)


def _dequantize(mantissa: Array, units: list[Units], order: tuple[int, ...], dtype: Any) -> Array:
    """mantissa * units with dimensions in ``order``; the others have one element and are dropped."""
    dropped = tuple(d for d in range(mantissa.ndim) if d not in order)
    last = tuple(range(len(order), mantissa.ndim))
    shape = mantissa.shape
    for part in units:
        cores = zip(shape[:CORE_AXES], part.values.shape[:CORE_AXES], strict=True)
        shape = (*(max(pair) for pair in cores), *shape[CORE_AXES:])
    values = np.empty([shape[d] for d in order], dtype)
    values[...] = np.squeeze(mantissa.transpose(order + dropped), last)
    k = order.index(CORE_AXES + K) if CORE_AXES + K in order else None
    for part in units:
        target = values if k is None else values[(slice(None),) * k + (slice(part.first, part.end),)]
        target *= np.squeeze(part.values.transpose(order + dropped), last)
    return values


def add_segments(
    total: Array,
    a: Array,
    b: Array,
    arrangement: Arrangement,
    windows: tuple[WindowAxis, WindowAxis],
    count: tuple[int, ...],
    cut: Segments | None,
) -> None:
    """Add every segment's product, rounded to fp32, to ``total``, in the order k, r, s.

    ``total`` is [batch, g, rows, columns], elementwise [core axes, n, p, q, o, g]; without ``cut`` all of k
    is one segment.
    """
    taps = [
        (r, s, windows[0].positions(count[P], r), windows[1].positions(count[Q], s))
        for r in range(count[R])
        for s in range(count[S])
    ]
    if arrangement.elementwise:
        for r, s, rows, columns in taps:
            total += a[:, :, :, :, rows, columns] * b[:, :, :, r, s][:, :, :, None, None, None]
        return
    at_g = len(arrangement.batch)
    to_rows = (slice(None),) * (len(arrangement.rows) + 1)
    ranges = [(0, count[G], 0, count[K])]
    if cut is not None:
        ranges = [(one.g_first, one.g_end, one.first, one.end) for one in cut.segments]
    for g_first, g_end, first, end in ranges:
        lead = (slice(None),) * at_g + (slice(g_first, g_end),)
        part = total[lead]
        product: Array | None = None
        for r, s, rows, columns in taps:
            values = a[(*lead, *to_rows, rows, columns, slice(first, end))]
            matrix = values.reshape(*values.shape[: at_g + 1], part.shape[-2], end - first)
            product = np.matmul(matrix, b[(*lead, r, s, slice(first, end))], out=product)
            part += product if product.dtype == np.float32 else product.astype(np.float32)
