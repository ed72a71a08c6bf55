"""The tile program of a convolution's local gradient: a contraction for each phase of the stride, and fills.

A phase that no tap reaches is all zeros: a load of which nothing is inside, and a store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from xdsl.ir import SSAValue

from flexc.ir.mapping import Mapping
from flexc.ir.placement import Placement
from flexc.mapping.from_gradients import forward_of_window
from flexc.mapping.gradients import phases
from flexc.mapping.window import window_of
from flexc.passes.scheduling.box_copies import BoxCopy, CopyPlan, plan_copy
from flexc.passes.scheduling.buffer_slots import BufferPlan
from flexc.passes.scheduling.contraction_plan import ContractionPlan, plan_contraction
from flexc.passes.scheduling.gradient_tiles import LocalGradOp, phases_of
from flexc.passes.scheduling.layout import shape_of, storage_order
from flexc.passes.scheduling.vector_sources import AxisRule, Source
from flexc.passes.scheduling.vector_steps import Domain
from flexc.target.machine import Target


@dataclass(frozen=True)
class LocalGradientPlan:
    """The phases of a local gradient, one tile program after the other, and the boxes of zeros."""

    op: LocalGradOp
    phases: tuple[ContractionPlan, ...]
    fills: tuple[CopyPlan, ...]

    @property
    def buffers(self) -> BufferPlan:
        """The slots of the first phase that overflows a buffer, or else of the last one."""
        of_phases = [phase.buffers for phase in self.phases]
        overflowing = [buffers for buffers in of_phases if buffers.overflow is not None]
        return [*overflowing, *reversed(of_phases), *(fill.buffers for fill in self.fills)][0]


def plan_local_gradient(
    op: LocalGradOp,
    mappings: Sequence[Mapping],
    placement_of: Callable[[SSAValue], Placement],
    target: Target,
) -> LocalGradientPlan:
    """The plan; whether the buffers have room is for the caller to ask (``buffers.overflow``)."""
    plans = []
    for phase, mapping in zip(phases_of(op), mappings, strict=True):
        plan = plan_contraction(op, mapping, (), (), placement_of, target, phase=phase)
        assert plan is not None
        plans.append(plan)
    fills = tuple(plan_copy(fill, placement_of, target) for fill in fills_of(op, placement_of))
    return LocalGradientPlan(op, tuple(plans), fills)


def fills_of(op: LocalGradOp, placement_of: Callable[[SSAValue], Placement]) -> tuple[BoxCopy, ...]:
    """The rows and columns of x that no tap reaches, by their remainders by the stride."""
    shape, stride = shape_of(op.out), tuple(op.stride.get_values())
    rank = len(stride)
    window = window_of(op)
    extents, forward = window.input_extents[-rank:], forward_of_window(window)
    reached = [{phase.first for phase in phases(forward, axis)} for axis in (0, 1)][-rank:]
    (plane,) = placement_of(op.out).planes
    fills = []
    for first in product(*(range(min(pair)) for pair in zip(stride, extents, strict=True))):
        if all(one in of_axis for one, of_axis in zip(first, reached, strict=True)):
            continue
        counts = [
            -(-(extent - one) // step) for extent, one, step in zip(extents, first, stride, strict=True)
        ]
        box = (*shape[:2], *counts)
        strides_bits = (
            *plane.strides_bits[:2],
            *(bits * step for bits, step in zip(plane.strides_bits[2:], stride, strict=True)),
        )
        offset_bits = sum(one * bits for one, bits in zip(first, plane.strides_bits[2:], strict=True))
        order = storage_order(plane, box)
        # All coordinates are below zero: nothing is read, everything is filled.
        rules = tuple(AxisRule(dim, box[dim], dim, start=-box[dim]) for dim in order)
        fills.append(BoxCopy(Source(op.out, rules), Domain(box, order), strides_bits, offset_bits))
    return tuple(fills)
