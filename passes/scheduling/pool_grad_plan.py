"""The tile program of a pool's gradient: whole images, as many channels and images as fit.

Windows overlap, so the elements of an image are summed on chip, one tap of all windows after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.placement import Placement, Plane
from flexc.numerics.windows import Windows
from flexc.passes.scheduling.buffer_slots import BufferName, BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import FP10_RUN, shape_of, table_placement
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target

PoolGradOp: TypeAlias = nn.MaxPoolGradOp | nn.AveragePoolGradOp
IMAGE, CHANNEL = 0, 1


@dataclass(frozen=True)
class PoolGradPlan:
    """Tiles of ``tile`` images and channels; ``held`` are tiles and slots by name."""

    op: PoolGradOp
    windows: Windows
    domain: Domain
    tile: tuple[int, ...]
    held: Mapping[str, tuple[Tile, BufferSlot]]
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """The loops over images and channels with more than one iteration."""
        return domain_loops(self.domain, self.tile)


def windows_of(op: nn.AveragePoolOp | PoolGradOp, x_shape: tuple[int, ...]) -> Windows:
    """The windows of a pool over a tensor of ``x_shape``."""
    values = [literal(one) for one in (op.kernel, op.stride, op.pads, op.dilation)]
    kernel, stride, pads, dilation = (
        tuple(int(number) for number in value) for value in values if isinstance(value, tuple)
    )
    return Windows.over(
        x_shape,
        kernel=kernel,
        stride=stride,
        pads=pads,
        dilation=dilation,
        ceil_mode=bool(literal(op.ceil_mode)),
    )


def plan_pool_grad(
    op: PoolGradOp, placement_of: Callable[[SSAValue], Placement], target: Target
) -> PoolGradPlan:
    """The largest tiles that fit; whether any do is for the caller to ask (``buffers.overflow``)."""
    shape = shape_of(op.out)
    windows = windows_of(op, shape)
    domain = Domain(shape[:2], (IMAGE, CHANNEL))
    narrow = isinstance(op, nn.MaxPoolGradOp) and placement_of(op.x).planes[0].format == "fp10"
    granule = {CHANNEL: FP10_RUN if narrow else 1}

    def plan(tile: tuple[int, ...], depth: int) -> PoolGradPlan:
        buffers = BufferPlan(target)
        held: dict[str, tuple[Tile, BufferSlot]] = {}

        def take(name: str, made: Tile, depth: int) -> None:
            buffer_names: tuple[BufferName, ...] = ("psum", "held", "operand")
            held[name] = (
                made,
                buffers.take_striped(name, made.size_bytes, depths=(depth,), buffers=buffer_names),
            )

        def images(plane: Plane, spatial: list[TileAxis]) -> Tile:
            outer, channels = (
                TileAxis(plane.strides_bits[dim], tile[dim], shape[dim], advance={dim: tile[dim]})
                for dim in (IMAGE, CHANNEL)
            )
            return Tile((outer, *spatial, channels), 32)

        def padded(plane: Plane) -> Tile:
            spatial = [
                TileAxis(plane.strides_bits[2 + dim], count, windows.size[dim], -windows.pads[dim])
                for dim, count in enumerate(windows.padded_size())
            ]
            return images(plane, spatial)

        def pooled(plane: Plane) -> Tile:
            spatial = [
                TileAxis(plane.strides_bits[2 + dim], count, count)
                for dim, count in enumerate(windows.output_size)
            ]
            return images(plane, spatial)

        gradient = placement_of(op.g).planes[0]
        take("dx", padded(placement_of(op.out).planes[0]), depth)
        take("g", pooled(gradient), depth)
        if isinstance(op, nn.MaxPoolGradOp):
            take("x", padded(placement_of(op.x).planes[0]), depth)
            take("winner", pooled(gradient), depth)
        else:
            strides = table_placement(op).planes[0].strides_bits
            counts = zip(strides, windows.output_size, strict=True)
            take("counts", Tile(tuple(TileAxis(one, count, count) for one, count in counts), 32), 1)
        return PoolGradPlan(op, windows, domain, tile, held, buffers)

    return largest_plan(domain, granule, [partial(plan, depth=depth) for depth in (2, 1)])
