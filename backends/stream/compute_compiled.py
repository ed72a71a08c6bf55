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
from flexc.backends.stream.contraction_tiles import (
    AXES,
    OUT,
    Arrangement,
    G,
    K,
    N,
    P,
    Q,
    R,
    S,
    WindowAxis,
    exact_in_fp32,
)
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import CORE_AXES
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import Segments
from flexc.numerics.compiled.contraction import contract_further, panel_width
from flexc.numerics.compiled.depthwise import add_tap_products
from flexc.numerics.compiled.planes import BoxRows, Planes, dequantize_panels, dequantize_rows

_RESERVED_EXPONENT = 255
Array = NDArray[Any]
Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class _TilePlan:
    """How a tile of an operand lies in its buffers; bases are in bits from those of the record."""

    box: BoxRows
    mantissa_base: int
    exponent_base: int


@dataclass(frozen=True)
class _Tile:
    """A tile as the kernels take it, flat, and its exponents' range."""

    values: Array
    exponents: tuple[int, int]
    windows: tuple[WindowAxis, WindowAxis]


@dataclass(frozen=True)
class _Walk:
    """Where kernels find rows of operand a: starts of output rows, and starts and lengths of segments.

    ``blocks`` are the products of matrices (or, elementwise, the cores), as the number of the block of each
    operand.
    """

    row_starts: Offsets
    segment_starts: Offsets
    segment_lengths: Offsets
    blocks: tuple[Offsets, Offsets]


class CompiledContraction:
    """The contraction of a compute record on block-floating-point operands."""

    def __init__(self, a: ComputeOperand, b: ComputeOperand, product_bits: int) -> None:
        self.a = a
        self.b = b
        self.product_bits = product_bits
        self._plans: dict[tuple[Any, ...], _TilePlan] = {}
        self._walks: dict[tuple[Any, ...], _Walk] = {}
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
            walk = self._walks[key] = _walk(run, cut, arrangement, cores, a.windows)
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
        groups = cut.a_groups if operand.is_a else cut.b_groups
        mantissas = checked(planes.mantissa, memories, planes.run, counters)[0]
        exponent_run = operand.exponent_run(planes, groups)
        exponents = checked(planes.exponent, memories, exponent_run, counters)[0]
        key = (operand.is_a, planes.run, cut, arrangement, mantissas.shape, exponents.shape)
        plan = self._plans.get(key)
        if plan is None:
            plan = _plan(operand, planes, cut, arrangement, cores, mantissas, exponents)
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


def _plan(
    operand: ComputeOperand,
    planes: OperandPlanes,
    cut: Segments,
    arrangement: Arrangement,
    cores: tuple[int, ...],
    mantissas: Array,
    exponents: Array,
) -> _TilePlan:
    axis = operand.axis
    assert axis is not None
    groups = cut.a_groups if operand.is_a else cut.b_groups
    run, m_stride, e_stride = planes.run, planes.mantissa.position_stride, planes.exponent.position_stride
    along = G if axis.along_g else K
    table = groups * e_stride[along]
    inner = K
    ends = [segment.end for segment in cut.segments]
    if arrangement.elementwise:
        inner = G
        of_g = 0 if axis.along_g else e_stride[G] * np.arange(run.count[G])
        table = table[..., 0] + of_g
        table = np.broadcast_to(table, (*table.shape[:CORE_AXES], run.count[G]))
        changes = np.diff(table).reshape(-1, run.count[G] - 1).any(axis=0)
        ends = [*(np.flatnonzero(changes) + 1).tolist(), run.count[G]]
    # A copy: kernels are compiled once more for arrays that cannot be written.
    table = np.array(table, np.int64, order="C")
    t_stride = [s // 8 if n > 1 else 0 for s, n in zip(table.strides, table.shape, strict=True)]

    walk = []
    m_base = e_base = 0
    for core in AXES:
        copies = (mantissas.shape[core] > 1, exponents.shape[core] > 1)
        m_core, e_core = (
            8 * plane.strides[core] if apart else 0
            for plane, apart in zip((mantissas, exponents), copies, strict=True)
        )
        m_base += m_core * run.first[core]
        e_base += e_core * run.first[core]
        walk.append((max(cores[core], groups.shape[core]), m_core, e_core, t_stride[core]))

    def dimension(d: int) -> tuple[int, int, int, int]:
        if d != G:
            return run.count[d], m_stride[d], e_stride[d], 0
        return run.count[G], m_stride[G], 0 if axis.along_g else e_stride[G], t_stride[CORE_AXES]

    if arrangement.elementwise:
        lead = [walk[core] for core in AXES]
        dims = (N, P, R, Q, S) if operand.is_a else (R, S, OUT)
        rows = [*lead, *map(dimension, dims)]
    else:
        lead = [*(walk[core] for core in arrangement.batch), dimension(G)]
        if operand.is_a:
            own = [walk[core] for core in arrangement.rows]
            rows = [*lead, *own, *map(dimension, (N, P, R, Q, S))]
        else:
            own = [walk[core] for core in arrangement.columns]
            rows = [*lead, dimension(R), dimension(S), *own, dimension(OUT)]
    moving = [row for row in rows if row[0] > 1] or [(1, 0, 0, 0)]
    box = BoxRows(
        np.array(moving, np.int64).T.copy(), m_stride[inner], table.reshape(-1), np.array(ends, np.int64)
    )
    return _TilePlan(box, m_base, e_base)


def _walk(
    run: CoreRun,
    cut: Segments,
    arrangement: Arrangement,
    cores: tuple[tuple[int, ...], tuple[int, ...]],
    windows: tuple[WindowAxis, WindowAxis],
) -> _Walk:
    rows, columns = windows
    count = run.count
    length = count[G] if arrangement.elementwise else count[K]
    line = columns.extent * length
    sizes = [
        *((run.cores[core], 0) for core in arrangement.rows),
        (count[N], rows.extent * line),
        (count[P], rows.output_step * line),
    ]
    of_image = count[N] * rows.extent * line
    for place in reversed(range(len(arrangement.rows))):
        sizes[place] = (sizes[place][0], of_image)
        of_image *= sizes[place][0]
    if not arrangement.elementwise:
        sizes.append((count[Q], columns.output_step * length))
    taps = _places([(count[R], rows.tap_step * line), (count[S], columns.tap_step * length)])
    segments = [(0, length)] if arrangement.elementwise else [(s.first, s.end) for s in cut.segments]
    starts = np.concatenate([taps + first for first, _ in segments])
    lengths = np.repeat([end - first for first, end in segments], len(taps))
    blocks = []
    for own, groups in zip(cores, (cut.a_groups, cut.b_groups), strict=True):
        apart = [max(own[core], groups.shape[core]) > 1 for core in arrangement.batch]
        places: list[tuple[int, int]] = []
        blocks_inside = 1
        if not arrangement.elementwise:
            places, blocks_inside = [(count[G], 1)], count[G]
        for core, differs in zip(reversed(arrangement.batch), reversed(apart), strict=True):
            places.insert(0, (run.cores[core], blocks_inside if differs else 0))
            blocks_inside *= run.cores[core] if differs else 1
        blocks.append(_places(places))
    return _Walk(_places(sizes), starts, lengths, (blocks[0], blocks[1]))


def _places(sizes: list[tuple[int, int]]) -> Offsets:
    """Offsets of the elements of a box, given extents and strides from the outermost dimension on."""
    found = np.zeros(1, np.int64)
    for extent, stride in sizes:
        found = (found[:, np.newaxis] + np.arange(extent, dtype=np.int64) * stride).reshape(-1)
    return found


def _add_matrices(walk: _Walk, a: _Tile, b: _Tile, total: Array) -> None:
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


def _add_elementwise(walk: _Walk, run: CoreRun, a: _Tile, b: _Tile, total: Array) -> None:
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
