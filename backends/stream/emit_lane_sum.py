"""Lane sums over many tiles: lanes start from +0, take up tile after tile, and are added up in the end.

A tile beyond the last position is filled with +0, which changes no lane: a sum that started from +0 is never
-0.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from flexc.backends.stream.emit_program import Frame, Program
from flexc.backends.stream.isa import Addressing, Format
from flexc.backends.stream.record_builder import Dim, Operand
from flexc.passes.scheduling.lane_sum_plan import LANES, POSITION, LaneSumPlan


def emit_lane_sum(program: Program, plan: LaneSumPlan) -> None:
    """The records of a long sum or mean; its DRAM slots are declared already."""
    frame = Frame({dim: level for level, (dim, _) in enumerate(plan.loops)})
    plane, result = (program.placements[value].planes[0] for value in (plan.op.x, plan.op.out))
    x_register, lanes_register = program.declare(plan.x_slot), program.declare(plan.lanes_slot)
    x = Operand(x_register, Format.F32, Addressing.CHIP, plan.x.pitches)
    lanes = Operand(lanes_register, Format.F32, Addressing.CHIP, plan.lanes.pitches)
    of_element = Operand(lanes_register, Format.F32, Addressing.CHIP, lanes.stride[1:] or (0,))
    src = program.dram(plane, (axis.stride_bits for axis in plan.x.axes))
    elements = [frame.dim(axis) for axis in plan.lanes.axes[1:]]
    count = None if plan.count_slot is None else program.declare(plan.count_slot)
    divisor = Operand(count or 0, Format.F32, Addressing.CHIP, (0,) * len(of_element.stride))
    if count is not None:
        # A load of which nothing is inside: its fill.
        dst = Operand(count, Format.F32, Addressing.CHIP, (0,))
        nothing = [Dim(1, start=-1, limit=1)]
        program.load(nothing, dst, program.dram(plane, (0,)), fill=float(plan.domain.shape[POSITION]))
    inner = [count for dim, count in plan.loops if dim == POSITION]
    outer = [count for dim, count in plan.loops if dim != POSITION]
    with ExitStack() as loops:
        for trips in outer:
            loops.enter_context(program.loop(trips))
        if outer:
            program.next(lanes_register)
        program.load([Dim(LANES, start=-LANES, limit=1), *elements], lanes, src)
        with ExitStack() as positions:
            for trips in inner:
                positions.enter_context(program.loop(trips))
            if plan.loops:
                program.next(x_register)
            program.load([frame.dim(axis) for axis in plan.x.axes], x, src)
            taps = plan.x.axes[0].count // LANES
            program.vector(
                "window_add",
                [Dim(LANES, limit=LANES), *elements, Dim(taps, limit=taps)],
                (
                    replace(lanes, stride=(*lanes.stride, 0)),
                    replace(lanes, stride=(*lanes.stride, 0)),
                    replace(x, stride=(*x.stride, LANES * x.stride[0])),
                ),
                reduced_dims=1,
            )
        half = LANES // 2
        while half:
            others = replace(lanes, offset=half * lanes.stride[0])
            program.vector("add", [Dim(half, limit=half), *elements], (lanes, lanes, others))
            half //= 2
        box = elements or [Dim(1, limit=1)]
        if count is not None:
            program.vector("div", box, (of_element, of_element, divisor))
        strides = [result.strides_bits[dim] for dim in plan.result_dims] or [0]
        program.store(box, program.dram(result, strides), of_element)
