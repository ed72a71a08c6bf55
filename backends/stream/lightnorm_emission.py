"""What LightNorm's tile programs have in common: slots, loops, boxes and records of its unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from xdsl.ir import SSAValue

from flexc.backends.stream.emit_epilogue import ROUNDINGS
from flexc.backends.stream.emit_program import ONE_CORE, Frame, Program, on_chip_format
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir.placement import Plane
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.lightnorm_plan import POSITION, LightNormPlan, position_stride
from flexc.passes.scheduling.riding_statistics import CHANNEL, ROW
from flexc.passes.scheduling.tile_boxes import TileAxis


class LightNormEmission(ABC):
    """Slots, loops and boxes of one of LightNorm's tile programs."""

    def __init__(self, program: Program, plan: LightNormPlan) -> None:
        self.program = program
        self.plan = plan
        self.registers = {slot: program.declare(slot) for slot in plan.buffers.slots}
        self.rounding = ROUNDINGS[plan.op.rounding.data]
        levels: dict[Hashable, int] = {}
        if plan.channel_trips > 1:
            levels[CHANNEL] = 0
        self.inner_level = len(levels)
        if plan.position_trips > 1:
            levels[POSITION] = self.inner_level
        self.row_trips = -(-plan.positions // plan.row_tile)
        if self.row_trips > 1:
            levels[ROW] = self.inner_level
        self.frame = Frame(levels)
        self.channel = self.frame.dim(
            TileAxis(0, plan.tile[2], plan.channels, advance={CHANNEL: plan.tile[2]})
        )

    def emit(self) -> None:
        """Both passes over the positions, for each tile of channels."""
        with self.loop(self.plan.channel_trips):
            self.first_pass()
            self.second_pass()

    @abstractmethod
    def first_pass(self) -> None:
        """Everything that needs all positions."""

    @abstractmethod
    def second_pass(self) -> None:
        """Every position."""

    @contextmanager
    def loop(self, trips: int) -> Iterator[None]:
        """A loop, unless it has one iteration."""
        with ExitStack() as stack:
            if trips > 1:
                stack.enter_context(self.program.loop(trips))
            yield

    @contextmanager
    def position_tiles(self, chunk: int) -> Iterator[tuple[Dim, Dim, Dim]]:
        """The loop over positions of the chunks from ``chunk`` on, and the box of a tile."""
        plan = self.plan
        with self.loop(plan.position_trips):
            of_chunks = TileAxis(0, plan.tile[0], plan.chunks, chunk)
            of_positions = TileAxis(0, plan.tile[1], plan.chunk_positions, advance={POSITION: plan.tile[1]})
            yield self.frame.dim(of_chunks), self.frame.dim(of_positions), self.channel

    def chunk_tiles(self) -> range:
        """The first chunk of each tile."""
        return range(0, self.plan.chunks, self.plan.tile[0])

    def renew(self, *names: str) -> None:
        """Moves slots on that each iteration of some loop fills anew."""
        if self.frame.levels or self.plan.tile[0] < self.plan.chunks:
            for name in names:
                self.program.next(self.register(name))

    def register(self, name: str) -> int:
        """The register of a slot by its name."""
        return self.registers[self.plan.held[name].slot]

    def at(self, name: str, keys: Sequence[Hashable], fmt: Format = Format.F32, offset: int = 0) -> Operand:
        """The tile of a slot along named dimensions."""
        strides = self.plan.held[name].tile.strides_along(keys)
        return Operand(self.register(name), fmt, Addressing.CHIP, strides, offset)

    def position_box(self, name: str) -> Operand:
        """A tile of chunks, positions and channels, which lie densely."""
        _, positions, channels = self.plan.tile
        strides = (32 * positions * channels, 32 * channels, 32)
        return Operand(self.register(name), Format.F32, Addressing.CHIP, strides)

    def tensor_box(self, value: SSAValue) -> Operand:
        """The tensor in DRAM along chunk, position and channel."""
        plane = self.plane(value)
        stride_bits = position_stride(plane, shape_of(value))
        assert stride_bits is not None
        strides = (stride_bits * self.plan.chunk_positions, stride_bits, plane.strides_bits[1])
        return self.program.dram(plane, strides)

    def plane(self, value: SSAValue) -> Plane:
        """The one plane of a plain tensor."""
        (plane,) = self.program.placements[value].planes
        return plane

    def load_tile(self, name: str, value: SSAValue) -> None:
        """Loads a slot's tile as its axes walk DRAM."""
        tile, plane = self.plan.held[name].tile, self.plane(value)
        dst = Operand(self.register(name), on_chip_format(plane), Addressing.CHIP, tile.pitches)
        src = self.program.dram(plane, (axis.stride_bits for axis in tile.axes))
        self.program.load([self.frame.dim(axis) for axis in tile.axes], dst, src)

    def store_vector(self, name: str, value: SSAValue) -> None:
        """Stores a value of each channel, if anything reads it."""
        if value in self.program.placements:
            dst = self.program.dram(self.plane(value), (32,))
            self.program.store([self.channel], dst, self.at(name, (CHANNEL,)))

    def lightnorm(self, opcode: Opcode, dims: Sequence[Dim], operands: Sequence[Operand], axis: int) -> None:
        """A rounding record of the LightNorm unit."""
        self.program.records.append(
            Record(opcode, dims, operands, function=self.rounding, axis=axis, core_grid=ONE_CORE)
        )
