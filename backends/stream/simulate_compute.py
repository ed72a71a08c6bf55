"""compute: one buffer tile of a contraction, segment by segment (numerics specification, section 2).

Within a segment the units of all products of one output are one power of two, so a floating-point product
of dequantized operands is the exact sum while it fits the significand: in fp32 below 2^24 units with every
unit at 2^-149 or above, in fp64 always. The sum is then rounded once to fp32 and joins the accumulator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import Operand, read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import ACCUMULATOR_BITS, CORE_AXES, FORMAT_BITS, Format
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import GroupAxis, Groups, Segments, cut_segments, group_axis
from flexc.backends.stream.simulate_move import operands_of

Array = NDArray[Any]
G, N, P, Q, O, K, R, S = range(8)  # noqa: E741 - COMPUTE_DIMS
AXES = tuple(range(CORE_AXES))
_BIAS = 127
_FP32_SUM_BITS = 24
_LEAST_UNIT = -149


class Arrangement:
    """The order of dimensions in which outputs are accumulated: [both..., g, rows..., columns...].

    Core axes along which both operands differ (or neither) go to the batch, those of a alone are rows, those
    of b alone columns, so that each segment is one product of matrices a batch. Where k has one element (a
    depthwise convolution) it is an elementwise product with g innermost.
    """

    def __init__(self, a_shape: tuple[int, ...], b_shape: tuple[int, ...], elementwise: bool) -> None:
        self.elementwise = elementwise
        rows = tuple(axis for axis in AXES if a_shape[axis] > 1 and b_shape[axis] == 1)
        columns = tuple(axis for axis in AXES if a_shape[axis] == 1 and b_shape[axis] > 1)
        batch = tuple(axis for axis in AXES if axis not in rows + columns)
        n, p, q, o, g = (CORE_AXES + d for d in (N, P, Q, O, G))
        self.batch = (*batch, g)
        self.rows = (*rows, n, p, q)
        self.columns = (*columns, o)
        if elementwise:
            self.order = (*AXES, n, p, q, o, g)
        else:
            self.order = self.batch + self.rows + self.columns

    def matrix(self, operand: Array, outputs: tuple[int, ...], *, k_last: bool) -> Array:
        """[batch, rows, k] of a, or [batch, k, columns] of b, from [core axes, g, n, p, q, o, k]."""
        k = CORE_AXES + K
        kept = (*self.batch, *outputs, k) if k_last else (*self.batch, k, *outputs)
        dropped = tuple(d for d in range(operand.ndim) if d not in kept)
        moved = operand.transpose(kept + dropped)
        moved = moved.reshape(moved.shape[: len(kept)])
        lead = moved.shape[: len(self.batch)]
        split = len(self.batch) + (len(outputs) if k_last else 1)
        return moved.reshape(
            *lead, int(np.prod(moved.shape[len(self.batch) : split])), int(np.prod(moved.shape[split:]))
        )


class Compute:
    """One compute record, on block-floating-point operands or on fp32 ones."""

    def __init__(self, record: Any, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.acc, self.a, self.a_exponent, self.b, self.b_exponent = operands_of(record, self.box)
        self.block = self.a.format is not Format.F32
        self.init_levels = [level for level in range(len(trips)) if int(record["init_loops"]) >> level & 1]
        self.distinct = tuple(cores > 1 for cores in self.box.grid)
        self._segments: dict[tuple[CoreRun, int, int], Segments] = {}
        if self.block:
            self.a_axis, self.b_axis = group_axis(record, 0), group_axis(record, 1)
            self.product_bits = FORMAT_BITS[self.a.format] + FORMAT_BITS[self.b.format] - 2

    def execute(self, memories: Memories, counters: Counters) -> None:
        from_zero = all(counters[level] == 0 for level in self.init_levels)
        for run in self.box.inside(counters).runs:
            for part in self._parts(run):
                self._contract(memories, part, counters, from_zero)

    def _parts(self, run: CoreRun) -> list[CoreRun]:
        """The run, cut into single cores along the axes that move groups by other than whole ones."""
        parts = [run]
        if not self.block:
            return parts
        for axis in AXES:
            moves = [
                (side.g_weight * self.box.core[G][axis] + side.k_weight * self.box.core[K][axis], side)
                for side in (self.a_axis, self.b_axis)
            ]
            if any(step and (side.whole or step % side.group) for step, side in moves):
                parts = [single for part in parts for single in _single_cores(part, axis)]
        return parts

    def _segments_of(self, run: CoreRun, counters: Counters) -> Segments:
        g_first, k_first = (self._first(d, run, counters) for d in (G, K))
        key = (run, g_first, k_first)
        found = self._segments.get(key)
        if found is None:
            g, k = (
                first + self.box.step[d] * np.arange(run.low[d], run.low[d] + run.count[d])
                for d, first in ((G, g_first), (K, k_first))
            )
            found = self._segments[key] = cut_segments(self.a_axis, self.b_axis, g, k)
            if found.longest << self.product_bits > 1 << (ACCUMULATOR_BITS - 1):
                raise StreamFault(
                    f"a segment of {found.longest} products of {self.product_bits + 2} bits overflows "
                    f"{ACCUMULATOR_BITS} bits"
                )
        return found

    def _first(self, d: int, run: CoreRun, counters: Counters) -> int:
        """The coordinate of position 0 of the first core of a run."""
        cores = zip(self.box.core[d], run.first, strict=True)
        return self.box.base(d, counters) + sum(more * c for more, c in cores)

    def _contract(self, memories: Memories, run: CoreRun, counters: Counters, from_zero: bool) -> None:
        a, b = read(self.a, memories, run, counters), read(self.b, memories, run, counters)
        arrangement = Arrangement(a.shape, b.shape, run.count[K] == 1 and run.count[G] > 1)
        acc_run = CoreRun(run.first, run.cores, (*run.low[:K], 0, 0, 0), (*run.count[:K], 1, 1, 1))
        shape = (*run.cores, *run.count[:K])
        total = np.zeros([shape[d] for d in arrangement.order], np.float32)
        as_written = total.transpose(np.argsort(arrangement.order))[..., None, None, None]
        if not from_zero:
            as_written[...] = read(self.acc, memories, acc_run, counters)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if self.block:
                self._add_segments(total, arrangement, a, b, memories, run, counters)
            else:
                self._add_taps(total, arrangement, a, b, run.count)
        if not np.isfinite(total).all():
            raise StreamFault("an accumulator is not finite", operand=self.acc.name)
        write(self.acc, memories, acc_run, counters, as_written, self.distinct)

    def _add_segments(
        self,
        total: Array,
        arrangement: Arrangement,
        a: Array,
        b: Array,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
    ) -> None:
        cut = self._segments_of(run, counters)
        a_exponent = _exponents(self.a_exponent, self.a_axis, cut.a_groups, memories, run, counters)
        b_exponent = _exponents(self.b_exponent, self.b_axis, cut.b_groups, memories, run, counters)
        exact = arrangement.elementwise or self._fits_fp32(cut.longest, a_exponent, b_exponent)
        dtype = np.float32 if exact else np.float64
        a_unit = _units(self.a.format, dtype)[_spread(a_exponent, self.a_axis, cut.a_groups)]
        b_unit = _units(self.b.format, dtype)[_spread(b_exponent, self.b_axis, cut.b_groups)]
        for segment in cut.segments:
            g, k = slice(segment.g_first, segment.g_end), slice(segment.first, segment.end)
            part = total[(slice(None),) * arrangement.order.index(CORE_AXES + G) + (g,)]
            for r in range(run.count[R]):
                for s in range(run.count[S]):
                    a_values = _tap(a, g, k, r, s) * _tap(a_unit, g, k, r, s)
                    b_values = _tap(b, g, k, r, s) * _tap(b_unit, g, k, r, s)
                    _add_product(part, arrangement, a_values, b_values)

    def _add_taps(
        self, total: Array, arrangement: Arrangement, a: Array, b: Array, count: tuple[int, ...]
    ) -> None:
        everything = slice(None)
        for r in range(count[R]):
            for s in range(count[S]):
                a_values, b_values = (_tap(values, everything, everything, r, s) for values in (a, b))
                _add_product(total, arrangement, a_values, b_values)

    def _fits_fp32(self, longest: int, a_exponent: Array, b_exponent: Array) -> bool:
        """Whether fp32 products and sums of dequantized elements are exact within every segment."""
        if longest << self.product_bits > 1 << _FP32_SUM_BITS:
            return False
        # Groups of exponent 0 hold zeros only; they wrap to 255 here and drop out of the minimum.
        lowest = sum(int((e - np.uint8(1)).min()) + 1 for e in (a_exponent, b_exponent)) - 2 * _BIAS
        highest = sum(int(e.max()) for e in (a_exponent, b_exponent)) - 2 * _BIAS
        return lowest - (self.product_bits - 2) >= _LEAST_UNIT and highest + 2 + longest.bit_length() < 128


def _single_cores(run: CoreRun, axis: int) -> list[CoreRun]:
    return [
        CoreRun(
            (*run.first[:axis], run.first[axis] + c, *run.first[axis + 1 :]),
            (*run.cores[:axis], 1, *run.cores[axis + 1 :]),
            run.low,
            run.count,
        )
        for c in range(run.cores[axis])
    ]


def _units(fmt: Format, dtype: type[np.floating[Any]]) -> Array:
    """The value of a mantissa's unit for each biased exponent E: 2^(E - 127 - (p - 1)), p = bits - 1."""
    return np.ldexp(dtype(1), np.arange(256) - (_BIAS + FORMAT_BITS[fmt] - 2))


def _exponents(
    operand: Operand, axis: GroupAxis, groups: Groups, memories: Memories, run: CoreRun, counters: Counters
) -> Array:
    """The exponents [core axes, g n p q o k r s] of a box, one a group along the group axis."""
    low, count = list(run.low), list(run.count)
    low[K], count[K] = 0, 1
    grouped = G if axis.along_g else K
    low[grouped], count[grouped] = int(groups.min()), int(groups.max() - groups.min() + 1)
    return read(operand, memories, CoreRun(run.first, run.cores, tuple(low), tuple(count)), counters)


def _spread(exponents: Array, axis: GroupAxis, groups: Groups) -> Array:
    """One exponent an element along g and k, where they differ."""
    index = groups - groups.min()
    if axis.along_g:
        return np.take(exponents, index[:, 0], axis=CORE_AXES + G)
    if axis.g_weight == 0:
        return np.take(exponents, index[0], axis=CORE_AXES + K)
    spread = np.take(exponents, index, axis=CORE_AXES + K)
    return np.moveaxis(spread.squeeze(CORE_AXES + G), CORE_AXES + K - 1, CORE_AXES + G)


def _tap(values: Array, g: slice, k: slice, r: int, s: int) -> Array:
    """One kernel position of [core axes, g n p q o k r s], dimensions of extent 1 as they are."""
    extents = values.shape[CORE_AXES:]
    return values[
        (slice(None),) * CORE_AXES
        + (
            g if extents[G] > 1 else slice(None),
            *(slice(None),) * 4,
            k if extents[K] > 1 else slice(None),
            min(r, extents[R] - 1),
            min(s, extents[S] - 1),
        )
    ]


def _add_product(total: Array, arrangement: Arrangement, a: Array, b: Array) -> None:
    """Add the product of one segment, rounded to fp32, to the accumulators."""
    if arrangement.elementwise:
        order = arrangement.order
        total += (a[..., 0].transpose(order) * b[..., 0].transpose(order)).astype(np.float32, copy=False)
        return
    product = np.matmul(
        arrangement.matrix(a, arrangement.rows, k_last=True),
        arrangement.matrix(b, arrangement.columns, k_last=False),
    )
    shape = [max(a.shape[d], b.shape[d]) for d in arrangement.order]
    total += product.reshape(shape).astype(np.float32, copy=False)
