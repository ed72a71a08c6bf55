"""Gradients of gathers: slices of the gradient added at their indices."""

from __future__ import annotations

from contextlib import ExitStack

from flexc.backends.stream.emit_program import FORMATS, ONE_CORE, Frame, Program
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.passes.scheduling.gather_grad_plan import GatherGradPlan, IndexDim
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile


def emit_gather_grad(program: Program, plan: GatherGradPlan) -> None:
    """The records of a gather's gradient; its DRAM slots are declared already."""
    op, frame = plan.op, Frame({dim: level for level, (dim, _) in enumerate(plan.loops)})
    total, gradient, indices = (program.declare(slot) for slot in plan.slots)
    planes = [program.placements[value].planes[0] for value in (op.out, op.g, op.indices)]
    formats = (Format.F32, Format.F32, FORMATS[planes[2].format])

    def on_chip(register: int, fmt: Format, tile: Tile) -> Operand:
        return Operand(register, fmt, Addressing.CHIP, tile.pitches)

    def boxes(tile: Tile) -> list[Dim]:
        return [frame.dim(axis) for axis in tile.axes]

    def load(register: int, index: int, tile: Tile) -> None:
        src = program.dram(planes[index], (axis.stride_bits for axis in tile.axes))
        program.load(boxes(tile), on_chip(register, formats[index], tile), src)

    load(indices, 2, plan.indices)
    with ExitStack() as loops:
        for _, count in plan.loops:
            loops.enter_context(program.loop(count))
        if plan.loops:
            program.next(total)
            program.next(gradient)
        load(gradient, 1, plan.gradient)
        sums = on_chip(total, Format.F32, plan.total)
        dst = program.dram(planes[0], (axis.stride_bits for axis in plan.total.axes))
        # A load of which nothing is inside fills with zeros.
        dims = boxes(plan.total)
        dims[plan.axis] = Dim(dims[plan.axis].count, start=-dims[plan.axis].count, limit=1)
        program.load(dims, sums, dst)
        program.records.append(_scatter(plan, frame, (total, gradient, indices), formats))
        program.store(boxes(plan.total), dst, sums)


def _scatter(
    plan: GatherGradPlan, frame: Frame, registers: tuple[int, int, int], formats: tuple[Format, ...]
) -> Record:
    dims = {key: frame.dim(axis) for axis in plan.gradient.axes for key in axis.position}
    tiles = (plan.total, plan.gradient, plan.indices)
    operands = [
        Operand(register, fmt, Addressing.CHIP, tile.strides_along(plan.keys))
        for register, fmt, tile in zip(registers, formats, tiles, strict=True)
    ]
    return Record(
        Opcode.SCATTER,
        [dims.get(key, Dim(1, limit=1)) for key in plan.keys],
        operands,
        axis=max(place for place, key in enumerate(plan.keys) if isinstance(key, IndexDim)),
        core_grid=ONE_CORE,
        immediate_int=shape_of(plan.op.out)[plan.axis],
    )
