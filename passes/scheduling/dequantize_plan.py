"""The tile program of a dequantization: a contraction of one element with the constant 1.

``q * 2^u * 1`` is exact and joins +0, so the sum is the value. One core does it; dimensions of the tensor
are g (the grouped one) and n, p, q of the compute record.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import lcm

from xdsl.ir import SSAValue

from flexc.ir import bfp
from flexc.ir.mapping import Dim
from flexc.ir.placement import Placement
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import grouped_dim, shape_of, storage_order
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target

OTHER_DIMS: tuple[Dim, ...] = ("n", "p", "q")


@dataclass(frozen=True)
class DequantizePlan:
    """Tiles and slots; ``names`` are the compute dimensions of the tensor's dimensions that a tile spans."""

    op: bfp.DequantizeOp
    domain: Domain
    tile: tuple[int, ...]
    group: int
    names: dict[int, Dim]
    mantissa: Tile
    exponent: Tile
    one: Tile
    result: Tile
    slots: tuple[BufferSlot, ...]
    """Of mantissas, exponents, the mantissa and the exponent of 1, and the result."""
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """Dimensions that are cut, outermost first, and their trip counts."""
        return domain_loops(self.domain, self.tile)


def plan_dequantize(
    op: bfp.DequantizeOp, placement_of: Callable[[SSAValue], Placement], target: Target
) -> DequantizePlan:
    """The largest tiles that fit double-buffered; whether any do is for the caller to ask."""
    assert isinstance(op.x.type, bfp.BlockTensorType)
    shape, grouped = shape_of(op.x), grouped_dim(op.x)
    group = op.x.type.get_tile()[grouped]
    mantissa_plane, exponent_plane = placement_of(op.x).planes
    order = tuple(dim for dim in storage_order(mantissa_plane, shape) if dim != grouped)
    domain = Domain(shape, (*order, grouped))
    granule = {grouped: lcm(group, 2 if mantissa_plane.format == "m4" else 1)}

    def plan(tile: tuple[int, ...]) -> DequantizePlan:
        spanned = [dim for dim in order if tile[dim] > 1]
        names: dict[int, Dim] = {
            grouped: "g",
            **dict(zip(reversed(spanned), reversed(OTHER_DIMS), strict=False)),
        }

        def axis(dim: int, stride_bits: int, per: int = 1) -> TileAxis:
            position: dict[Hashable, int] = {names[dim]: 1} if dim in names else {}
            count, limit = -(-tile[dim] // per), -(-shape[dim] // per)
            return TileAxis(stride_bits, count, limit, advance={dim: tile[dim] // per}, position=position)

        mantissa = Tile(
            tuple(axis(dim, mantissa_plane.strides_bits[dim]) for dim in domain.order), mantissa_plane.bits
        )
        exponent = Tile(
            tuple(
                axis(dim, exponent_plane.strides_bits[dim], group if dim == grouped else 1)
                for dim in domain.order
            ),
            8,
        )
        one = Tile((TileAxis(0, 1, 1),), 4)
        result = Tile(tuple(axis(dim, 0) for dim in domain.order), 32)
        buffers = BufferPlan(target)
        slots = (
            buffers.take("mantissas", "operand", mantissa.size_bytes, depth=2, per_core=True),
            buffers.take("exponents", "operand", exponent.size_bytes, depth=2, per_core=True),
            buffers.take("one", "held", 1, depth=1, per_core=True),
            buffers.take("exponent of one", "held", 1, depth=1, per_core=True),
            buffers.take("values", "psum", result.size_bytes, depth=2, per_core=True),
        )
        return DequantizePlan(op, domain, tile, group, names, mantissa, exponent, one, result, slots, buffers)

    def has_dims_enough(tile: tuple[int, ...]) -> bool:
        return sum(tile[dim] > 1 for dim in order) <= len(OTHER_DIMS)

    return largest_plan(domain, granule, [plan], allows=has_dims_enough)
