"""compute: one buffer tile of a contraction, segment by segment (numerics specification, section 2).

Within a segment the units of all products of one output are one power of two, so a floating-point product
of dequantized operands is the exact sum while it fits the significand: in fp32 below 2^24 units with every
unit at 2^-149 or above, in fp64 always. The sum is then rounded once to fp32 and joins the accumulator.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.compute_operand import ComputeOperand
from flexc.backends.stream.contraction_tiles import AXES, Arrangement, G, K, add_segments, exact_in_fp32
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import ACCUMULATOR_BITS, CORE_AXES, FORMAT_BITS, Format, Space
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import GroupAxis, Segments, cut_segments, group_axis
from flexc.backends.stream.simulate_move import operands_of
from flexc.numerics.acceleration import use_compiled

if TYPE_CHECKING:
    from flexc.backends.stream.compute_compiled import CompiledContraction


class Compute:
    """One compute record, on block-floating-point operands or on fp32 ones."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
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
        self._segments: dict[tuple[CoreRun, int, int], list[tuple[CoreRun, Segments]]] = {}
        self._acc_runs: dict[CoreRun, CoreRun] = {}
        self._interned: dict[object, Segments] = {}
        self._compiled: CompiledContraction | None = None

    def execute(self, memories: Memories, counters: Counters) -> None:
        if self.acc.slot(memories).space is not Space.PSUM:
            raise StreamFault("is not in the psum buffer", operand=self.acc.name)
        from_zero = all(counters[level] == 0 for level in self.init_levels)
        for run in self.box.inside(counters).runs:
            if any(run.low):
                raise StreamFault("the box starts outside")
            if self.axes is None:
                self._contract(memories, run, counters, from_zero, None)
                continue
            for part, cut in self._cut(run, counters):
                self._contract(memories, part, counters, from_zero, cut)

    def _contract(
        self, memories: Memories, run: CoreRun, counters: Counters, from_zero: bool, cut: Segments | None
    ) -> None:
        cores = self.a.cores_apart(memories, run), self.b.cores_apart(memories, run)
        arrangement = Arrangement.of(*cores, run.count[K] == 1 and run.count[G] > 1)
        acc_run = self._acc_run(run)
        shape = (*run.cores, *run.count[:K])
        total = np.zeros([shape[d] for d in arrangement.outputs], np.float32)
        as_stored = total.transpose(arrangement.stored)[..., None, None, None]
        if not from_zero:
            as_stored[...] = read(self.acc, memories, acc_run, counters)
        matrices = arrangement.matrices(total)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if not self._add_compiled(memories, run, counters, cut, arrangement, cores, matrices):
                self._add(memories, run, counters, cut, arrangement, matrices)
            finite = np.isfinite(total.sum()) or np.isfinite(total).all()
        if not finite:
            raise StreamFault("an accumulator is not finite", operand=self.acc.name)
        write(self.acc, memories, acc_run, counters, as_stored, self.distinct)

    def _add(
        self,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        cut: Segments | None,
        arrangement: Arrangement,
        matrices: NDArray[np.float32],
    ) -> None:
        """Add the products of a run, by NumPy."""
        dtype: Any = np.float32
        if cut is not None and not arrangement.elementwise:
            dtype = self._exact_dtype(memories, run, counters, cut)
        a_groups, b_groups = (None, None) if cut is None else (cut.a_groups, cut.b_groups)
        a = self.a.tile(memories, run, counters, a_groups, arrangement, dtype)
        b = self.b.tile(memories, run, counters, b_groups, arrangement, dtype)
        add_segments(matrices, a.values, b.values, arrangement, a.windows, run.count, cut)

    def _add_compiled(
        self,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        cut: Segments | None,
        arrangement: Arrangement,
        cores: tuple[tuple[int, ...], tuple[int, ...]],
        matrices: NDArray[np.float32],
    ) -> bool:
        """Add the products of a run by compiled kernels; false where there are none for it."""
        if cut is None or not use_compiled():
            return False
        if self._compiled is None:
            from flexc.backends.stream.compute_compiled import CompiledContraction

            self._compiled = CompiledContraction(self.a, self.b, self.product_bits)
        return self._compiled.add(memories, run, counters, cut, arrangement, cores, matrices)

    def _acc_run(self, run: CoreRun) -> CoreRun:
        """The accumulators of a run: one element along each reduced dimension."""
        found = self._acc_runs.get(run)
        if found is None:
            found = CoreRun(run.first, run.cores, run.low, (*run.count[:K], 1, 1, 1))
            self._acc_runs[run] = found
        return found

    def _cut(self, run: CoreRun, counters: Counters) -> list[tuple[CoreRun, Segments]]:
        """The parts of a run whose cores are cut alike, and their segments.

        Raises StreamFault where a segment overflows the integer accumulators.
        """
        key = (run, self.box.base(G, counters), self.box.base(K, counters))
        found = self._segments.get(key)
        if found is None:
            together = self._segments_of(run, counters)
            if together.alike and self._same_exponents(together):
                found = [(run, together)]
            else:
                found = [(one, self._segments_of(one, counters)) for one in _single_cores(run)]
            self._segments[key] = found
        return found

    def _segments_of(self, run: CoreRun, counters: Counters) -> Segments:
        assert self.axes is not None
        g, k = (self._coordinates(d, run, counters) for d in (G, K))
        found = cut_segments(*self.axes, g, k)
        if found.longest << self.product_bits > 1 << (ACCUMULATOR_BITS - 1):
            raise StreamFault(
                f"a segment of {found.longest} products of {self.product_bits + 2} bits overflows "
                f"{ACCUMULATOR_BITS} bits"
            )
        return self._interned.setdefault(found.content, found)

    def _same_exponents(self, cut: Segments) -> bool:
        """Whether all cores read the same exponents of their buffers, or whole axes of them."""
        assert self.axes is not None
        return all(
            axis.whole or bool((groups == groups[:1, :1, :1]).all())
            for axis, groups in zip(self.axes, (cut.a_groups, cut.b_groups), strict=True)
        )

    def _coordinates(self, d: int, run: CoreRun, counters: Counters) -> NDArray[np.int64]:
        """[core axes, positions], core axes that do not move the dimension having one entry."""
        coordinates = np.arange(run.count[d]) + self.box.base(d, counters)
        for axis in reversed(AXES):
            more = self.box.core[d][axis]
            cores = np.arange(run.first[axis], run.first[axis] + (run.cores[axis] if more else 1))
            along = (cores * more).reshape(-1, *[1] * coordinates.ndim)
            coordinates = coordinates + along
        return coordinates

    def _exact_dtype(self, memories: Memories, run: CoreRun, counters: Counters, cut: Segments) -> Any:
        """fp32 where products and sums of dequantized elements are exact in it within every segment."""
        if not exact_in_fp32(cut.longest, self.product_bits):
            return np.float64
        a = self.a.exponent_range(memories, run, counters, cut.a_groups)
        b = self.b.exponent_range(memories, run, counters, cut.b_groups)
        return np.float32 if exact_in_fp32(cut.longest, self.product_bits, a, b) else np.float64


def _single_cores(run: CoreRun) -> list[CoreRun]:
    ranges = [range(first, first + n) for first, n in zip(run.first, run.cores, strict=True)]
    return [CoreRun(core, (1,) * CORE_AXES, run.low, run.count) for core in product(*ranges)]
