"""LightNorm's statistics: tiles that join a state, and the vectors of channels that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flexc.backends.stream.emit_epilogue import ROUNDINGS
from flexc.backends.stream.emit_program import ONE_CORE, Frame, Program
from flexc.backends.stream.isa import NO_SLOT, Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir import lightnorm
from flexc.numerics.lightnorm_constants import range_constant
from flexc.passes.scheduling.buffer_slots import BufferSlot
from flexc.passes.scheduling.riding_statistics import (
    CHANNEL,
    CHUNK,
    ROW,
    STATE_ROWS,
    VECTORS,
    RidingStatistics,
)
from flexc.passes.scheduling.tile_boxes import Tile

ROWS = Dim(STATE_ROWS, limit=STATE_ROWS)
RESULTS = VECTORS[1:]


@dataclass(frozen=True)
class StatisticsPlace:
    """Where the statistics of ``channels`` are on chip: registers of ``state`` and the vectors, by name."""

    op: lightnorm.ForwardOp | lightnorm.StatisticsOp
    registers: Mapping[str, int]
    state: Tile
    channels: Dim
    chunks: int
    chunk_positions: int

    def vector(self, name: str, strides: Sequence[int] = (32,)) -> Operand:
        """A value of each channel."""
        return Operand(self.registers[name], Format.F32, Addressing.CHIP, tuple(strides))


def emit_tile(
    program: Program,
    place: StatisticsPlace,
    dims: Sequence[Dim],
    x: Operand,
    position_strides: Sequence[int],
    chunks: Dim,
    *,
    init_loops: int,
    grid: tuple[int, ...] = ONE_CORE,
    addressing: Addressing = Addressing.CHIP,
) -> None:
    """Joins a tile of x to the state of ``chunks``; ``dims`` are those of positions, then channels.

    With global ``addressing``, channels have their places in the state by their coordinates.
    """
    first_bits = chunks.start * place.state.strides_along((CHUNK,))[0]
    strides = (*(0 for _ in dims[1:]), *place.state.strides_along((CHANNEL, CHUNK, ROW)))
    if addressing is Addressing.GLOBAL:
        first_bits = 0
    program.records.append(
        Record(
            Opcode.STATISTICS,
            (*dims, chunks, ROWS),
            (
                Operand(place.registers["state"], Format.I64, addressing, strides, first_bits),
                Operand(x.slot, x.format, x.addressing, (*x.stride[: len(dims)], 0, 0), x.offset),
                Operand(NO_SLOT, Format.F32, Addressing.LOCAL, tuple(position_strides)),
            ),
            function=ROUNDINGS[place.op.rounding.data],
            axis=len(dims) - 1,
            core_grid=grid,
            immediate_int=place.chunk_positions,
            init_loops=init_loops,
        )
    )


def emit_summary(program: Program, place: StatisticsPlace) -> None:
    """Mean, range, scale and gamma in ten bits from the state of all chunks; stores what is read later."""
    op, along = place.op, (CHUNK, CHANNEL, ROW)
    chunks = Dim(place.chunks, limit=place.chunks)
    state = Operand(place.registers["state"], Format.I64, Addressing.CHIP, place.state.strides_along(along))
    program.records.append(
        Record(
            Opcode.SUMMARIZE,
            (chunks, place.channels, ROWS),
            (*(place.vector(name, (0, 32, 0)) for name in RESULTS), state, place.vector("gamma", (0, 32, 0))),
            function=ROUNDINGS[op.rounding.data],
            axis=1,
            core_grid=ONE_CORE,
            immediate=(float(range_constant(place.chunk_positions)), float(np.float32(op.eps.value.data))),
            immediate_int=place.chunks * place.chunk_positions,
        )
    )
    for name in RESULTS:
        value = getattr(op, name)
        if value in program.placements:
            (plane,) = program.placements[value].planes
            program.store([place.channels], program.dram(plane, (32,)), place.vector(name))
    row_bits = place.state.strides_along((ROW,))[0]
    for row, value in ((STATE_ROWS - 2, op.argmax), (STATE_ROWS - 1, op.argmin)):
        if value in program.placements:
            (plane,) = program.placements[value].planes
            src = Operand(
                place.registers["state"],
                Format.I64,
                Addressing.CHIP,
                place.state.strides_along((CHANNEL, CHUNK)),
                row * row_bits,
            )
            program.store([place.channels, chunks], program.dram(plane, plane.strides_bits), src)


class RidingEmission:
    """Statistics on the results of a contraction, inside its loops."""

    def __init__(
        self, program: Program, plan: RidingStatistics, frame: Frame, registers: Mapping[BufferSlot, int]
    ) -> None:
        self.program = program
        self.plan = plan
        self.frame = frame
        slots = {"state": plan.state_slot, **plan.vectors}
        self.place = StatisticsPlace(
            plan.op,
            {name: registers[slot] for name, slot in slots.items()},
            plan.state,
            frame.chip_dim(plan.channels),
            plan.chunks,
            plan.chunk_positions,
        )

    def begin(self) -> None:
        """In the loops outside the state, before those inside it."""
        if self.plan.outer_loops:
            self.program.next(self.place.registers["state"])

    def tile(self, dims: Sequence[Dim], x: Operand, position_loops: int) -> None:
        """A tile of x in the accumulators; ``position_loops`` are the bits of loops that move positions."""
        plan = self.plan
        emit_tile(
            self.program,
            self.place,
            dims,
            x,
            plan.position_strides,
            Dim(plan.chunks, limit=plan.chunks),
            init_loops=position_loops,
            grid=self.frame.grid,
            addressing=Addressing.GLOBAL if plan.whole else Addressing.CHIP,
        )

    def end(self) -> None:
        """Behind the loops inside the state.

        Gamma is loaded here: before the loops, its load would hold back those of operands.
        """
        program, place = self.program, self.place
        if self.plan.outer_loops:
            for name in VECTORS:
                program.next(place.registers[name])
        (plane,) = program.placements[self.plan.op.gamma].planes
        program.load([place.channels], place.vector("gamma"), program.dram(plane, (32,)))
        emit_summary(program, place)
