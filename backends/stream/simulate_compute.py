"""compute: one buffer tile of a contraction, segment by segment (numerics specification, section 2).

Within a segment the units of all products of one output are one power of two, so a floating-point product
of dequantized operands is the exact sum while it fits the significand: in fp32 below 2^24 units with every
unit at 2^-149 or above, in fp64 always. The sum is then rounded once to fp32 and joins the accumulator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flexc.backends.stream.access import read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.compute_operand import ComputeOperand
from flexc.backends.stream.contraction_tiles import AXES, EXPONENT_BIAS, Arrangement, G, K, add_segments
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import ACCUMULATOR_BITS, FORMAT_BITS, Format, Space
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import GroupAxis, Segments, cut_segments, group_axis
from flexc.backends.stream.simulate_move import operands_of

_FP32_SUM_BITS = 24
_LEAST_UNIT = -149


class Compute:
    """One compute record, on block-floating-point operands or on fp32 ones."""

    def __init__(self, record: Any, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.acc, a, a_exponent, b, b_exponent = operands_of(record, self.box)
        self.axes: tuple[GroupAxis, GroupAxis] | None = None
        if a.format is not Format.F32:
            self.axes = (group_axis(record, 0), group_axis(record, 1))
        self.a = ComputeOperand("a", a, a_exponent, self.axes and self.axes[0])
        self.b = ComputeOperand("b", b, b_exponent, self.axes and self.axes[1])
        self.product_bits = FORMAT_BITS[a.format] + FORMAT_BITS[b.format] - 2
        self.init_levels = [level for level in range(len(trips)) if int(record["init_loops"]) >> level & 1]
        self.distinct = tuple(cores > 1 for cores in self.box.grid)
        self._segments: dict[tuple[CoreRun, int, int], Segments] = {}

    def execute(self, memories: Memories, counters: Counters) -> None:
        if self.acc.slot(memories).space is not Space.PSUM:
            raise StreamFault("is not in the psum buffer", operand=self.acc.name)
        from_zero = all(counters[level] == 0 for level in self.init_levels)
        for run in self.box.inside(counters).runs:
            if any(run.low):
                raise StreamFault("the box starts outside")
            for part in self._parts(run):
                self._contract(memories, part, counters, from_zero)

    def _parts(self, run: CoreRun) -> list[CoreRun]:
        """The run, cut into single cores along the axes that move groups by other than whole ones."""
        parts = [run]
        for axis in AXES:
            moves = [
                (side.g_weight * self.box.core[G][axis] + side.k_weight * self.box.core[K][axis], side)
                for side in self.axes or ()
            ]
            if any(step and (side.whole or step % side.group) for step, side in moves):
                parts = [single for part in parts for single in _single_cores(part, axis)]
        return parts

    def _contract(self, memories: Memories, run: CoreRun, counters: Counters, from_zero: bool) -> None:
        arrangement = Arrangement.of(
            self.a.cores_apart(memories, run),
            self.b.cores_apart(memories, run),
            elementwise=run.count[K] == 1 and run.count[G] > 1,
        )
        cut = None if self.axes is None else self._cut(run, counters)
        dtype: Any = np.float32
        if cut is not None and not arrangement.elementwise:
            dtype = self._exact_dtype(memories, run, counters, cut)
        a_groups, b_groups = (None, None) if cut is None else (cut.a_groups, cut.b_groups)
        a = self.a.tile(memories, run, counters, a_groups, arrangement, dtype)
        b = self.b.tile(memories, run, counters, b_groups, arrangement, dtype)

        acc_run = CoreRun(run.first, run.cores, run.low, (*run.count[:K], 1, 1, 1))
        shape = (*run.cores, *run.count[:K])
        total = np.zeros([shape[d] for d in arrangement.outputs], np.float32)
        as_stored = total.transpose(np.argsort(arrangement.outputs))[..., None, None, None]
        if not from_zero:
            as_stored[...] = read(self.acc, memories, acc_run, counters)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            matrices = arrangement.matrices(total)
            add_segments(matrices, a.values, b.values, arrangement, a.windows, run.count, cut)
            finite = np.isfinite(total.sum()) or np.isfinite(total).all()
        if not finite:
            raise StreamFault("an accumulator is not finite", operand=self.acc.name)
        write(self.acc, memories, acc_run, counters, as_stored, self.distinct)

    def _cut(self, run: CoreRun, counters: Counters) -> Segments:
        """The segments of a run. Raises StreamFault where one overflows the integer accumulators."""
        assert self.axes is not None
        g_first, k_first = (self._first(d, run, counters) for d in (G, K))
        key = (run, g_first, k_first)
        found = self._segments.get(key)
        if found is None:
            g, k = g_first + np.arange(run.count[G]), k_first + np.arange(run.count[K])
            found = self._segments[key] = cut_segments(*self.axes, g, k)
            if found.longest << self.product_bits > 1 << (ACCUMULATOR_BITS - 1):
                raise StreamFault(
                    f"a segment of {found.longest} products of {self.product_bits + 2} bits overflows "
                    f"{ACCUMULATOR_BITS} bits"
                )
        return found

    def _first(self, d: int, run: CoreRun, counters: Counters) -> int:
        """The coordinate of the first core of a run."""
        cores = zip(self.box.core[d], run.first, strict=True)
        return self.box.base(d, counters) + sum(more * c for more, c in cores)

    def _exact_dtype(self, memories: Memories, run: CoreRun, counters: Counters, cut: Segments) -> Any:
        """fp32 where products and sums of dequantized elements are exact in it within every segment."""
        if cut.longest << self.product_bits > 1 << _FP32_SUM_BITS:
            return np.float64
        a_low, a_high = self.a.exponent_range(memories, run, counters, cut.a_groups)
        b_low, b_high = self.b.exponent_range(memories, run, counters, cut.b_groups)
        least_unit = a_low + b_low - 2 * EXPONENT_BIAS - (self.product_bits - 2)
        largest_sum = a_high + b_high - 2 * EXPONENT_BIAS + 2 + cut.longest.bit_length()
        return np.float32 if least_unit >= _LEAST_UNIT and largest_sum < 128 else np.float64


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
