"""Where the compiled kernels of compute find what they read: tiles in buffers, rows and segments in tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box import CoreRun
from flexc.backends.stream.columns import Integers
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
)
from flexc.backends.stream.isa import CORE_AXES
from flexc.backends.stream.segments import Segments
from flexc.numerics.compiled.planes import BoxRows

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class TilePlan:
    """How a tile of an operand lies in its buffers; bases are in bits from those of the record."""

    box: BoxRows
    mantissa_base: int
    exponent_base: int


@dataclass(frozen=True)
class ContractionWalk:
    """Where kernels find rows of operand a: starts of output rows, and starts and lengths of segments.

    ``blocks`` are the products of matrices (or, elementwise, the cores), as the number of the block of each
    operand.
    """

    row_starts: Integers
    segment_starts: Integers
    segment_lengths: Integers
    blocks: tuple[Integers, Integers]


def tile_plan(
    operand: ComputeOperand,
    planes: OperandPlanes,
    cut: Segments,
    arrangement: Arrangement,
    cores: tuple[int, ...],
    mantissas: Array,
    exponents: Array,
) -> TilePlan:
    """The plan of an operand's tile from ``mantissas`` and ``exponents``, buffers [core axes..., bytes].

    ``cores`` are those along each axis that have a tile of their own. Rows of the tile are in the order of
    ``contraction_tiles``: batch, then what makes rows (columns, for operand b) of a product, then k.
    """
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
    return TilePlan(box, m_base, e_base)


def contraction_walk(
    run: CoreRun,
    cut: Segments,
    arrangement: Arrangement,
    cores: tuple[tuple[int, ...], tuple[int, ...]],
    windows: tuple[WindowAxis, WindowAxis],
) -> ContractionWalk:
    """The walk of a run's tiles; ``cores`` are those that have something of their own, of a and b.

    Starts count elements of operand a's tile, whose rows are ``windows`` of lines and columns of an image.
    """
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
    return ContractionWalk(_places(sizes), starts, lengths, (blocks[0], blocks[1]))


def _places(sizes: list[tuple[int, int]]) -> Integers:
    """Offsets of the elements of a box, given extents and strides from the outermost dimension on."""
    found = np.zeros(1, np.int64)
    for extent, stride in sizes:
        found = (found[:, np.newaxis] + np.arange(extent, dtype=np.int64) * stride).reshape(-1)
    return found
