"""The tile program of a sum too long for one tile: the 16 lanes of a lane sum go on from tile to tile.

Positions of the reduced dimensions have to lie at one stride in DRAM, as those of an image tensor do when
images, rows and columns are summed up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import TypeAlias

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.placement import Placement
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import FP10_RUN, shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target

LaneSumOp: TypeAlias = nn.ReduceSumOp | nn.ReduceMeanOp
LANES = 16
POSITION = 0
"""Dimension of the domain that is summed up; the others are those of the result, outermost in DRAM first."""


@dataclass(frozen=True)
class LaneSumPlan:
    """Tiles of ``tile`` positions and elements of the result.

    ``result_dims`` are the result's dimensions behind the domain's. ``x`` is a tile of the operand with its
    positions outermost, ``lanes`` the sums of the lanes likewise.
    """

    op: LaneSumOp
    domain: Domain
    result_dims: tuple[int, ...]
    tile: tuple[int, ...]
    x: Tile
    lanes: Tile
    x_slot: BufferSlot
    lanes_slot: BufferSlot
    count_slot: BufferSlot | None
    """Of the number that a mean is divided by."""
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """The loops with more than one iteration: over elements of the result, then over positions."""
        return domain_loops(self.domain, self.tile)


def plan_lane_sum(
    op: LaneSumOp, placement_of: Callable[[SSAValue], Placement], target: Target
) -> LaneSumPlan | None:
    """The largest tiles that fit; None where the positions do not lie at one stride.

    Whether any tiles fit is for the caller to ask (``buffers.overflow``).
    """
    shape, plane = shape_of(op.x), placement_of(op.x).planes[0]
    axes, keepdims = literal(op.axes), bool(literal(op.keepdims))
    assert isinstance(axes, tuple)
    reduced = sorted({int(axis) % len(shape) for axis in axes})
    strides = [(plane.strides_bits[dim], shape[dim]) for dim in reduced if shape[dim] > 1]
    if not strides or any(outer != inner * extent for (outer, _), (inner, extent) in pairwise(strides)):
        return None
    kept = [dim for dim in range(len(shape)) if dim not in reduced]
    result_dim = {dim: dim if keepdims else place for place, dim in enumerate(kept)}
    kept.sort(key=lambda dim: -plane.strides_bits[dim])
    positions, extents = prod(extent for _, extent in strides), [shape[dim] for dim in kept]
    # Positions first: they are cut before what lies together in DRAM. The loop over them is innermost.
    search = Domain((positions, *extents), tuple(range(1 + len(kept))))
    walk = Domain(search.shape, (*range(1, 1 + len(kept)), POSITION))
    granule = {POSITION: LANES}
    if plane.format == "fp10":
        granule.update({place: FP10_RUN for place, dim in enumerate(kept, 1) if dim == 1})

    def plan(tile: tuple[int, ...], depth: int) -> LaneSumPlan:
        rows = -(-tile[POSITION] // LANES) * LANES
        along = TileAxis(strides[-1][0], rows, positions, advance={POSITION: rows})
        others = tuple(
            TileAxis(plane.strides_bits[dim], tile[place], shape[dim], advance={place: tile[place]})
            for place, dim in enumerate(kept, 1)
        )
        x, lanes = Tile((along, *others), 32), Tile((TileAxis(0, LANES, LANES), *others), 32)
        buffers = BufferPlan(target)
        x_slot = buffers.take_striped(
            "operand", x.size_bytes, depths=(depth,), buffers=("operand", "held", "psum")
        )
        lanes_slot = buffers.take_striped(
            "lanes", lanes.size_bytes, depths=(depth,), buffers=("psum", "held", "operand")
        )
        count_slot = None
        if isinstance(op, nn.ReduceMeanOp):
            count_slot = buffers.take_striped("count", 4, depths=(1,), buffers=("held", "psum", "operand"))
        dims = tuple(result_dim[dim] for dim in kept)
        return LaneSumPlan(op, walk, dims, tile, x, lanes, x_slot, lanes_slot, count_slot, buffers)

    return largest_plan(search, granule, [partial(plan, depth=depth) for depth in (2, 1)])
