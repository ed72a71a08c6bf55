"""Quantization fused into a tile program: where mantissas and exponents are staged before they are stored."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from flexc.ir import bfp
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis


@dataclass(frozen=True)
class Stage:
    """Quantization in groups of ``group`` along ``axis``, staged for all cores together.

    The axes' ``position`` keys name the dimensions of the source's box, as ``axis`` does.
    """

    op: bfp.QuantizeOp
    axis: Hashable
    group: int
    mantissa: Tile
    exponent: Tile
    mantissa_slot: BufferSlot
    exponent_slot: BufferSlot


def make_stage(
    op: bfp.QuantizeOp,
    axis: Hashable,
    group: int,
    mantissa_axes: Mapping[Hashable, TileAxis],
    exponent_axes: Mapping[Hashable, TileAxis],
    mantissa_bits: int,
    buffers: BufferPlan,
    *,
    depths: tuple[int, ...],
) -> Stage:
    """A stage of tiles over the given axes, which walk the two planes in DRAM element by element."""
    along = exponent_axes[axis]
    groups = replace(
        along,
        count=-(-along.count // group),
        limit=-(-along.limit // group),
        advance={dim: more // group for dim, more in along.advance.items()},
    )
    mantissa = Tile(_innermost_last(mantissa_axes, axis), mantissa_bits)
    exponent = Tile(_innermost_last({**exponent_axes, axis: groups}, axis), 8)
    slots = [
        buffers.take_striped(label, tile.size_bytes, depths=depths, buffers=("psum", "held", "operand"))
        for label, tile in (("staged mantissas", mantissa), ("staged exponents", exponent))
    ]
    return Stage(op, axis, group, mantissa, exponent, slots[0], slots[1])


def _innermost_last(axes: Mapping[Hashable, TileAxis], axis: Hashable) -> tuple[TileAxis, ...]:
    others = [one for key, one in axes.items() if key != axis and (one.limit, one.count) != (1, 1)]
    return (*sorted(others, key=lambda one: -one.stride_bits), axes[axis])
