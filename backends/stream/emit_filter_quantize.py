"""Quantizations of whole filters: load, convert, store."""

from __future__ import annotations

from contextlib import ExitStack

from flexc.backends.stream.emit_epilogue import emit_stage
from flexc.backends.stream.emit_program import Frame, Program, on_chip_format
from flexc.backends.stream.isa import Addressing
from flexc.backends.stream.record_builder import Operand
from flexc.passes.scheduling.filter_quantize_plan import FILTER, TAP, FilterQuantizePlan


def emit_filter_quantize(program: Program, plan: FilterQuantizePlan) -> None:
    """The records of a quantization of filters; its DRAM slots are declared already."""
    frame = Frame({dim: level for level, (dim, _) in enumerate(plan.loops)})
    registers = {slot: program.declare(slot) for slot in plan.buffers.slots}
    source = registers[plan.source_slot]
    staged = (registers[plan.stage.mantissa_slot], registers[plan.stage.exponent_slot])
    (plane,) = program.placements[plan.op.x].planes
    dims = [frame.dim(axis) for axis in plan.source.axes]
    tile = Operand(source, on_chip_format(plane), Addressing.CHIP, plan.source.pitches)
    taps = plan.domain.shape[TAP]
    with ExitStack() as loops:
        for _, count in plan.loops:
            loops.enter_context(program.loop(count))
        if plan.loops:
            for register in (source, *staged):
                program.next(register)
        program.load(dims, tile, program.dram(plane, (axis.stride_bits for axis in plan.source.axes)))
        emit_stage(program, frame, plan.stage, staged, (FILTER, TAP), dims, tile, (taps, 1))
