"""The table of a LightNorm whose statistics the model computes or is given: made before its group runs."""

from __future__ import annotations

from flexc.backends.stream.emit_epilogue import ROUNDINGS
from flexc.backends.stream.emit_program import ONE_CORE, Program
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir import lightnorm
from flexc.passes.scheduling.buffer_slots import BufferPlan
from flexc.passes.scheduling.layout import shape_of
from flexc.target.machine import Target

FP32_BITS = 32


def emit_norm_constants(program: Program, op: lightnorm.InferOp, target: Target) -> None:
    """Fills the table of ``op``; its DRAM slots are declared already."""
    (channels,) = shape_of(op.gamma)
    dims = [Dim(channels, limit=channels)]
    buffers = BufferPlan(target)

    def slot(label: str) -> Operand:
        taken = buffers.take_striped(
            label, channels * FP32_BITS // 8, depths=(1,), buffers=("psum", "held", "operand")
        )
        return Operand(program.declare(taken), Format.F32, Addressing.CHIP, (FP32_BITS,))

    given = {name: slot(name) for name in ("gamma", "beta", "mean", "var")}
    made = {name: slot(name) for name in ("mean", "scale", "gamma_q")}
    for name, place in given.items():
        (plane,) = program.placements[getattr(op, name)].planes
        program.load(dims, place, program.dram(plane, (FP32_BITS,)))
    program.records.append(
        Record(
            Opcode.CONSTANTS,
            dims,
            (*made.values(), given["gamma"], given["mean"], given["var"]),
            function=ROUNDINGS[op.rounding.data],
            core_grid=ONE_CORE,
            immediate=(float(op.eps.value.data),),
        )
    )
    (table,) = program.tables[op].planes
    for row, place in enumerate((*made.values(), given["beta"])):
        program.store(dims, program.dram(table, (FP32_BITS,), row * table.strides_bits[0]), place)
