"""The tile program of quantizing filters whole: one exponent for each filter of a depthwise convolution.

The taps of a filter are one dimension, which groups run along; filters lie innermost in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp
from flexc.ir.placement import Placement
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.contraction_tiles import merged_stride
from flexc.passes.scheduling.layout import block_role, shape_of
from flexc.passes.scheduling.stages import Stage
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import domain_loops, largest_plan
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target

FILTER, TAP = 0, 1


@dataclass(frozen=True)
class FilterQuantizePlan:
    """Tiles of ``tile`` filters with all of their taps."""

    op: bfp.QuantizeOp
    domain: Domain
    tile: tuple[int, ...]
    source: Tile
    source_slot: BufferSlot
    stage: Stage
    buffers: BufferPlan

    @property
    def loops(self) -> tuple[tuple[int, int], ...]:
        """The loop over filters, if there is more than one tile."""
        return domain_loops(self.domain, self.tile)


def quantizes_filters(op: Operation) -> bool:
    """Whether ``op`` gives each filter one exponent, and its taps lie evenly in memory."""
    if not isinstance(op, bfp.QuantizeOp) or block_role(op.out) != "window_kernel":
        return False
    assert isinstance(op.out.type, bfp.BlockTensorType)
    return op.out.type.get_tile() == (1, 1, *shape_of(op.x)[2:]) and shape_of(op.x)[1] == 1


def plan_filter_quantize(
    op: bfp.QuantizeOp, placement_of: Callable[[SSAValue], Placement], target: Target
) -> FilterQuantizePlan:
    """The largest tiles that fit double-buffered; whether any do is for the caller to ask."""
    shape = shape_of(op.x)
    taps, kernel = prod(shape[2:]), tuple(range(2, len(shape)))
    (plane,) = placement_of(op.x).planes
    mantissa_plane, exponent_plane = placement_of(op.out).planes
    domain = Domain((shape[0], taps), (FILTER, TAP))
    granule = {FILTER: 2 if mantissa_plane.format == "m4" else 1, TAP: taps}
    of_taps = [merged_stride(one, shape, kernel) for one in (plane, mantissa_plane)]
    assert None not in of_taps, "the taps of filters with one channel lie one after the other"

    def plan(tile: tuple[int, ...]) -> FilterQuantizePlan:
        def filters(stride_bits: int) -> TileAxis:
            return TileAxis(
                stride_bits, tile[FILTER], shape[0], advance={FILTER: tile[FILTER]}, position={FILTER: 1}
            )

        read, written = (TileAxis(stride or 0, taps, taps, position={TAP: 1}) for stride in of_taps)
        source = Tile((filters(plane.strides_bits[0]), read), 32)
        mantissa = Tile((written, filters(mantissa_plane.strides_bits[0])), mantissa_plane.bits)
        exponent = Tile((filters(exponent_plane.strides_bits[0]),), 8)
        buffers = BufferPlan(target)
        slots = [
            buffers.take_striped(label, one.size_bytes, depths=(2,), buffers=("psum", "held", "operand"))
            for label, one in (
                ("filters", source),
                ("staged mantissas", mantissa),
                ("staged exponents", exponent),
            )
        ]
        stage = Stage(op, TAP, taps, mantissa, exponent, slots[1], slots[2])
        return FilterQuantizePlan(op, domain, tile, source, slots[0], stage, buffers)

    return largest_plan(domain, granule, [plan])
