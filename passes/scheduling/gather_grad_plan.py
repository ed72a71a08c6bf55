"""The tile program of a gather's gradient: sums of slices, whole along the gathered axis."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.placement import PLANE_BITS, Placement
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import natural_order, shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target


@dataclass(frozen=True)
class IndexDim:
    """A dimension of the indices."""

    dim: int


@dataclass(frozen=True)
class GatherGradPlan:
    """Tiles of ``tile`` elements of the result.

    ``keys`` name the dimensions of g: those of the result, and in the place of the gathered one those of the
    indices (one of one element, where they have none). Sums follow the last of these, whatever it holds.
    """

    op: nn.GatherGradOp
    axis: int
    keys: tuple[IndexDim | int, ...]
    domain: Domain
    tile: tuple[int, ...]
    total: Tile
    gradient: Tile
    indices: Tile
    slots: tuple[BufferSlot, BufferSlot, BufferSlot]
    """Of the sums, the gradient and the indices."""
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """The loops over the other dimensions with more than one iteration."""
        return domain_loops(self.domain, self.tile)


def plan_gather_grad(
    op: nn.GatherGradOp, placement_of: Callable[[SSAValue], Placement], target: Target
) -> GatherGradPlan:
    """The largest tiles that fit; whether any do is for the caller to ask (``buffers.overflow``)."""
    shape, index_shape = shape_of(op.out), shape_of(op.indices)
    axis, rank = int(op.axis.value.data) % len(shape), len(index_shape)
    domain = Domain(shape, natural_order(len(shape)))
    granule = {axis: shape[axis]}
    of_result, of_gradient, of_indices = (
        placement_of(value).planes[0].strides_bits for value in (op.out, op.g, op.indices)
    )
    picked = [IndexDim(dim) for dim in range(max(rank, 1))]
    keys: tuple[IndexDim | int, ...] = (*range(axis), *picked, *range(axis + 1, len(shape)))

    def plan(tile: tuple[int, ...], depth: int) -> GatherGradPlan:
        def moving(dim: int, stride_bits: int, key: Hashable) -> TileAxis:
            return TileAxis(stride_bits, tile[dim], shape[dim], advance={dim: tile[dim]}, position={key: 1})

        def whole(key: IndexDim, stride_bits: int) -> TileAxis:
            count = index_shape[key.dim]
            return TileAxis(stride_bits, count, count, position={key: 1})

        total = [moving(dim, bits, picked[-1] if dim == axis else dim) for dim, bits in enumerate(of_result)]
        present = keys if rank else tuple(key for key in keys if key != picked[0])
        gradient = [
            whole(key, bits) if isinstance(key, IndexDim) else moving(key, bits, key)
            for key, bits in zip(present, of_gradient, strict=True)
        ]
        indices = [whole(IndexDim(dim), bits) for dim, bits in enumerate(of_indices)]
        one = (TileAxis(0, 1, 1),)
        tiles = (
            Tile(tuple(total), 32),
            Tile(tuple(gradient) or one, 32),
            Tile(tuple(indices) or one, PLANE_BITS[placement_of(op.indices).planes[0].format]),
        )
        buffers = BufferPlan(target)
        labels = (("sums", depth), ("gradient", depth), ("indices", 1))
        sums, moved, indexed = (
            buffers.take_striped(label, one.size_bytes, depths=(deep,), buffers=("psum", "held", "operand"))
            for one, (label, deep) in zip(tiles, labels, strict=True)
        )
        return GatherGradPlan(op, axis, keys, domain, tile, *tiles, (sums, moved, indexed), buffers)

    return largest_plan(domain, granule, [partial(plan, depth=depth) for depth in (2, 1)])
