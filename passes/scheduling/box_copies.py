"""Results that are put together from boxes of their operands: concat, pad by edge or reflection, reshape.

Each box is a tile program of its own: load, store. A reshape walks its operand and writes it in row-major
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.placement import PLANE_BITS, Placement
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.layout import FP10_RUN, natural_order, pack, shape_of
from flexc.passes.scheduling.tile_boxes import Tile
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_sources import AxisRule, Source
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target

PlacementOf: TypeAlias = Callable[[SSAValue], Placement]


@dataclass(frozen=True)
class BoxCopy:
    """A box of the result: ``source`` read in tiles, written from ``offset_bits`` on by ``strides_bits``."""

    source: Source
    domain: Domain
    strides_bits: tuple[int, ...]
    offset_bits: int


@dataclass(frozen=True)
class CopyPlan:
    """The tile of one box and its slot."""

    copy: BoxCopy
    tile: tuple[int, ...]
    box: Tile
    slot: BufferSlot
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """Box dimensions that are cut, outermost first, and their trip counts."""
        return domain_loops(self.copy.domain, self.tile)


def box_copies(op: Operation, placement_of: PlacementOf) -> tuple[BoxCopy, ...]:
    """The boxes of a result; KeyError for an op that is not made of boxes."""
    return BOX_OPS[type(op)](op, placement_of)


def plan_copy(copy: BoxCopy, placement_of: PlacementOf, target: Target) -> CopyPlan:
    """The largest tiles that fit double-buffered. A single element always does."""
    plane = placement_of(copy.source.value).planes[0]
    bits = PLANE_BITS["f32"] if plane.format == "fp10" else plane.bits
    granule = {
        rule.follows: FP10_RUN
        for rule in copy.source.rules
        if plane.format == "fp10" and rule.dim == 1 and rule.follows is not None
    }

    def plan(tile: tuple[int, ...]) -> CopyPlan:
        buffers = BufferPlan(target)
        box = copy.source.tile(tile, plane, bits)
        slot = buffers.take("copied box", "operand", box.size_bytes, depth=2, per_core=False)
        return CopyPlan(copy, tile, box, slot, buffers)

    return largest_plan(copy.domain, granule, [plan])


def _ordered(strides: Sequence[int], shape: Sequence[int]) -> Domain:
    return Domain(tuple(shape), tuple(sorted(range(len(shape)), key=lambda dim: -strides[dim])))


def _concat(op: Operation, placement_of: PlacementOf) -> tuple[BoxCopy, ...]:
    assert isinstance(op, nn.ConcatOp)
    strides = placement_of(op.out).planes[0].strides_bits
    axis = int(op.axis.value.data) % len(strides)
    copies, first = [], 0
    for value in op.inputs:
        shape = shape_of(value)
        if 0 not in shape:
            domain = _ordered(strides, shape)
            rules = tuple(AxisRule(dim, shape[dim], dim) for dim in domain.order)
            copies.append(BoxCopy(Source(value, rules), domain, strides, first * strides[axis]))
        first += shape[axis]
    return tuple(copies)


def _reshape(op: Operation, placement_of: PlacementOf) -> tuple[BoxCopy, ...]:
    assert isinstance(op, nn.ReshapeOp)
    shape = shape_of(op.x) or (1,)
    strides = pack(shape, natural_order(len(shape)), placement_of(op.out).planes[0].format).strides_bits
    rules = tuple(AxisRule(dim, extent, dim) for dim, extent in enumerate(shape_of(op.x)))
    return (BoxCopy(Source(op.x, rules), Domain(shape, natural_order(len(shape))), strides, 0),)


@dataclass(frozen=True)
class _Region:
    """Part of one padded dimension: ``size`` elements from ``start`` on in the operand, by ``step``."""

    offset: int
    size: int
    start: int
    step: int


def _pad_with_itself(op: Operation, placement_of: PlacementOf) -> tuple[BoxCopy, ...]:
    assert isinstance(op, nn.PadOp)
    shape = shape_of(op.x)
    pads = literal(op.pads)
    assert isinstance(pads, tuple)
    strides = placement_of(op.out).planes[0].strides_bits
    reflects = op.mode.data == "reflect"
    regions = [
        _regions(extent, int(pads[dim]), int(pads[len(shape) + dim]), reflects)
        for dim, extent in enumerate(shape)
    ]
    copies = []
    for choice in product(*regions):
        domain = _ordered(strides, tuple(region.size for region in choice))
        rules = tuple(
            AxisRule(dim, shape[dim], dim, choice[dim].step, choice[dim].start, choice[dim].step)
            if choice[dim].step
            else AxisRule(dim, shape[dim], start=choice[dim].start)
            for dim in domain.order
        )
        offset = sum(region.offset * stride for region, stride in zip(choice, strides, strict=True))
        copies.append(BoxCopy(Source(op.x, rules), domain, strides, offset))
    return tuple(copies)


def _regions(extent: int, begin: int, end: int, reflects: bool) -> list[_Region]:
    """The padding before, the operand (cut by negative padding), the padding behind."""
    low, high = max(0, -begin), extent - max(0, -end)
    before, behind = max(0, begin), max(0, end)
    kept = _Region(before, high - low, low, 1)
    if reflects:
        first = _Region(0, before, low + before, -1)
        last = _Region(before + high - low, behind, high - 2, -1)
    else:
        first = _Region(0, before, low, 0)
        last = _Region(before + high - low, behind, high - 1, 0)
    return [region for region in (first, kept, last) if region.size > 0]


BOX_OPS: dict[type[Operation], Callable[[Operation, PlacementOf], tuple[BoxCopy, ...]]] = {
    nn.ConcatOp: _concat,
    nn.PadOp: _pad_with_itself,
    nn.ReshapeOp: _reshape,
}
"""Ops made of boxes (a pad with a constant is a load with a fill value instead)."""


def is_box_op(op: Operation) -> bool:
    """Whether the result of ``op`` is put together from boxes."""
    return type(op) in BOX_OPS and not (isinstance(op, nn.PadOp) and op.mode.data == "constant")
