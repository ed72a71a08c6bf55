"""Dequantizations: a compute record with the constant 1 as its other operand."""

from __future__ import annotations

from contextlib import ExitStack

from flexc.backends.stream.emit_program import FORMATS, ONE_CORE, Frame, Program
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir.mapping import DIMS
from flexc.passes.scheduling.dequantize_plan import DequantizePlan
from flexc.passes.scheduling.tile_boxes import Tile


def emit_dequantize(program: Program, plan: DequantizePlan) -> None:
    """The records of a dequantization; its DRAM slots are declared already."""
    frame = Frame({dim: level for level, (dim, _) in enumerate(plan.loops)})
    mantissa, exponent, one, one_exponent, result = (program.declare(slot) for slot in plan.slots)
    planes = program.placements[plan.op.x].planes
    ones = program.tables[plan.op].planes
    for register, plane in ((one, ones[0]), (one_exponent, ones[1])):
        dst = Operand(register, FORMATS[plane.format], Addressing.LOCAL, (plane.bits,))
        program.load([Dim(1, limit=1)], dst, program.dram(plane, (plane.bits,)))
    with ExitStack() as loops:
        for _, count in plan.loops:
            loops.enter_context(program.loop(count))
        for register, tile, plane in (
            (mantissa, plan.mantissa, planes[0]),
            (exponent, plan.exponent, planes[1]),
        ):
            if plan.loops:
                program.next(register)
            dst = Operand(register, FORMATS[plane.format], Addressing.LOCAL, tile.pitches)
            src = program.dram(plane, (axis.stride_bits for axis in tile.axes))
            program.load([frame.dim(axis) for axis in tile.axes], dst, src)
        if plan.loops:
            program.next(result)
        _compute(program, plan, frame, (mantissa, exponent, one, one_exponent, result))
        (plane,) = program.placements[plan.op.out].planes
        place = Operand(result, Format.F32, Addressing.LOCAL, plan.result.pitches)
        strides = (plane.strides_bits[dim] for dim in plan.domain.order)
        program.store([frame.dim(axis) for axis in plan.result.axes], program.dram(plane, strides), place)


def _compute(
    program: Program, plan: DequantizePlan, frame: Frame, registers: tuple[int, int, int, int, int]
) -> None:
    mantissa, exponent, one, one_exponent, result = registers
    plane = program.placements[plan.op.x].planes[0]
    axes = dict(zip(plan.domain.order, plan.result.axes, strict=True))
    boxes = {plan.names[dim]: frame.dim(axis) for dim, axis in axes.items() if dim in plan.names}

    def local(register: int, fmt: Format, tile: Tile) -> Operand:
        return Operand(register, fmt, Addressing.LOCAL, tile.strides_along(DIMS))

    operands = (
        local(result, Format.F32, plan.result),
        local(mantissa, FORMATS[plane.format], plan.mantissa),
        local(exponent, Format.E8, plan.exponent),
        local(one, Format.M4, plan.one),
        local(one_exponent, Format.E8, plan.one),
    )
    program.records.append(
        Record(
            Opcode.COMPUTE,
            [boxes.get(dim, Dim(1, limit=1)) for dim in DIMS],
            operands,
            core_grid=ONE_CORE,
            a_group=plan.group,
            b_group=1,
            a_axis=(1, 0),
            b_axis=(0, 1),
            # The constant is the narrower operand, or as wide as the other.
            stream=1,
            lane=(DIMS.index("k"), 1),
            unit=(DIMS.index("g"), 1),
        )
    )
