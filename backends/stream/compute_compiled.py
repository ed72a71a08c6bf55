"""compute with compiled kernels: the bytes of ``contraction_tiles``, in one pass over each operand.

Tiles are made straight from a buffer's bits, and a contraction is one call for all its segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import checked
from flexc.backends.stream.box import CoreRun, Counters
from flexc.backends.stream.compute_operand import ComputeOperand, OperandPlanes
from flexc.backends.stream.compute_walks import ContractionWalk, TilePlan, contraction_walk, tile_plan
from flexc.backends.stream.contraction_tiles import (
    AXES,
    OUT,
    Arrangement,
    G,
    Q,
    R,
    S,
    WindowAxis,
    exact_in_fp32,
)
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import Segments
from flexc.numerics.compiled.contraction import contract_further, panel_width
from flexc.numerics.compiled.depthwise import add_tap_products
from flexc.numerics.compiled.planes import Planes, dequantize_panels, dequantize_rows

_RESERVED_EXPONENT = 255
Array = NDArray[Any]


@dataclass(frozen=True)
class _Tile:
    """A tile as the kernels take it, flat, and its exponents' range."""

    values: Array
    exponents: tuple[int, int]
    windows: tuple[WindowAxis, WindowAxis]


class CompiledContraction:
    """The contraction of a compute record on block-floating-point operands."""

    def __init__(self, a: ComputeOperand, b: ComputeOperand, product_bits: int) -> None:
        self.a = a
        self.b = b
        self.product_bits = product_bits
        self._plans: dict[tuple[Any, ...], TilePlan] = {}
        self._walks: dict[tuple[Any, ...], ContractionWalk] = {}
        self._simple: dict[tuple[CoreRun, Segments, Arrangement], bool] = {}

    def add(
        self,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        cut: Segments,
        arrangement: Arrangement,
        cores: tuple[tuple[int, ...], tuple[int, ...]],
        total: Array,
    ) -> bool:
        """Add the products of a run to ``total`` ([batch..., g, rows, columns] or, elementwise, as
        :attr:`Arrangement.outputs`), or do nothing and return false where the kernels do not go.

        ``cores`` are the cores that have something of their own, of operands a and b.
        """
        dtype: Any = np.float32
        if not arrangement.elementwise and not exact_in_fp32(cut.longest, self.product_bits):
            dtype = np.float64
        simple = self._simple.get((run, cut, arrangement))
        if simple is None:
            simple = self._simple[(run, cut, arrangement)] = _is_simple(cut, arrangement, run)
        if not simple:
            return False
        a = self._tile(self.a, memories, run, counters, cut, arrangement, cores[0], dtype)
        b = self._tile(self.b, memories, run, counters, cut, arrangement, cores[1], dtype)
        if max(a.exponents[1], b.exponents[1]) == _RESERVED_EXPONENT:
            return False
        if (
            dtype == np.float32
            and not arrangement.elementwise
            and not exact_in_fp32(cut.longest, self.product_bits, a.exponents, b.exponents)
        ):
            return False
        key = (run, cut, arrangement, cores, a.windows)
        walk = self._walks.get(key)
        if walk is None:
            walk = self._walks[key] = contraction_walk(run, cut, arrangement, cores, a.windows)
        if arrangement.elementwise:
            _add_elementwise(walk, run, a, b, total)
        else:
            _add_matrices(walk, a, b, total)
        return True

    def _tile(
        self,
        operand: ComputeOperand,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        cut: Segments,
        arrangement: Arrangement,
        cores: tuple[int, ...],
        dtype: Any,
    ) -> _Tile:
        """An operand's tile in this iteration, kept while its buffer is; raises StreamFault."""

        def build() -> _Tile:
            *preferred, last = operand.planes(run)
            for planes in preferred:
                try:
                    return self._build(operand, planes, memories, counters, cut, arrangement, cores, dtype)
                except StreamFault:
                    # Rows between those that are needed may hold nothing.
                    continue
            return self._build(operand, last, memories, counters, cut, arrangement, cores, dtype)

        return operand.derived(operand.mantissa, memories, (run, cut, arrangement, dtype), build)

    def _build(
        self,
        operand: ComputeOperand,
        planes: OperandPlanes,
        memories: Memories,
        counters: Counters,
        cut: Segments,
        arrangement: Arrangement,
        cores: tuple[int, ...],
        dtype: Any,
    ) -> _Tile:
        """The tile from these planes; raises StreamFault where they read what nothing has written."""
        groups = cut.a_groups if operand.is_a else cut.b_groups
        mantissas = checked(planes.mantissa, memories, planes.run, counters)[0]
        exponent_run = operand.exponent_run(planes, groups)
        exponents = checked(planes.exponent, memories, exponent_run, counters)[0]
        key = (operand.is_a, planes.run, cut, arrangement, mantissas.shape, exponents.shape)
        plan = self._plans.get(key)
        if plan is None:
            plan = tile_plan(operand, planes, cut, arrangement, cores, mantissas, exponents)
            self._plans[key] = plan
        given = Planes(
            mantissas.reshape(-1),
            planes.mantissa.base_bits(counters) + plan.mantissa_base,
            planes.mantissa.bits,
            exponents.reshape(-1),
            planes.exponent.base_bits(counters) + plan.exponent_base,
        )
        if operand.is_a or arrangement.elementwise:
            values, exponent_range = dequantize_rows(given, plan.box, dtype)
            return _Tile(values, exponent_range, planes.windows)
        count = planes.run.count
        taps = count[R] * count[S]
        columns = prod(cores[axis] for axis in arrangement.columns) * count[OUT]
        panels, exponent_range = dequantize_panels(
            given, plan.box, taps, columns, panel_width(np.dtype(dtype))
        )
        return _Tile(panels, exponent_range, planes.windows)


def _is_simple(cut: Segments, arrangement: Arrangement, run: CoreRun) -> bool:
    """Whether all of g is cut alike, and cores that share an operand share its groups."""
    if any(segment.g_end - segment.g_first != run.count[G] for segment in cut.segments):
        return False
    apart = [
        (cut.a_groups.shape[axis] > 1 and axis in arrangement.columns)
        or (cut.b_groups.shape[axis] > 1 and axis in arrangement.rows)
        for axis in AXES
    ]
    return not any(apart)


def _add_matrices(walk: ContractionWalk, a: _Tile, b: _Tile, total: Array) -> None:
    of_a, of_b = walk.blocks
    y = total.reshape(len(of_a), *total.shape[-2:])
    left = a.values.reshape(int(of_a[-1]) + 1, -1)
    panels = b.values.reshape(b.values.shape[0], -1)
    for block in range(len(of_a)):
        contract_further(
            left[of_a[block]],
            walk.row_starts,
            walk.segment_starts,
            walk.segment_lengths,
            panels[of_b[block]],
            y[block],
        )


def _add_elementwise(walk: ContractionWalk, run: CoreRun, a: _Tile, b: _Tile, total: Array) -> None:
    of_a, of_b = walk.blocks
    count = run.count
    add_tap_products(
        total.reshape(-1),
        a.values,
        b.values,
        (of_a * (a.values.size // (int(of_a[-1]) + 1)), of_b * (b.values.size // (int(of_b[-1]) + 1))),
        walk.row_starts,
        walk.segment_starts,
        columns=count[Q],
        column_step=a.windows[1].output_step * count[G],
        outputs=count[OUT],
        channels=count[G],
    )
