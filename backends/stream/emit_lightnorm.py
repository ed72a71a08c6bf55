"""LightNorm's training passes: statistics or sums over all positions, then every position with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from flexc.backends.stream.emit_epilogue import ROUNDINGS
from flexc.backends.stream.emit_program import FORMATS, ONE_CORE, Frame, Program, on_chip_format
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir import lightnorm
from flexc.ir.placement import Plane
from flexc.numerics.lightnorm_constants import range_constant
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.lightnorm_plan import (
    CHANNEL,
    CHUNK,
    LANE,
    LANES,
    POSITION,
    ROW,
    STATE_ROWS,
    LightNormPlan,
    position_stride,
)
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

POSITIONS_ROW, RANGE_CONSTANT_ROW, CHUNKS_ROW = range(3)
"""Rows of the backward pass's table of constants."""


def emit_lightnorm(program: Program, plan: LightNormPlan) -> None:
    """The records of a forward or backward pass; its DRAM slots are declared already."""
    emission = _Forward if isinstance(plan.op, lightnorm.ForwardOp) else _Backward
    emission(program, plan).emit()


class _Emission(ABC):
    """Slots, loops and boxes of either pass."""

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


class _Forward(_Emission):
    """Statistics; then xhat and y."""

    def first_pass(self) -> None:
        """The state of all chunks, and what follows from it."""
        plan, op = self.plan, self.plan.op
        assert isinstance(op, lightnorm.ForwardOp)
        self.renew("gamma", "beta", "state")
        self.load_tile("gamma", op.gamma)
        self.load_tile("beta", op.beta)
        rows = Dim(STATE_ROWS, limit=STATE_ROWS)
        for chunk in self.chunk_tiles():
            with self.position_tiles(chunk) as box:
                self._load(box)
                state = self.at("state", (CHUNK, POSITION, CHANNEL, ROW), Format.I64, self._chunk_bits(chunk))
                x = self.position_box("x")
                x = replace(x, stride=(*x.stride, 0))
                self.program.records.append(
                    Record(
                        Opcode.STATISTICS,
                        (*box, rows),
                        (state, x),
                        function=self.rounding,
                        axis=2,
                        core_grid=ONE_CORE,
                        immediate_int=plan.chunk_positions,
                        init_loops=1 << self.inner_level if plan.position_trips > 1 else 0,
                    )
                )
        self._summarize(op, rows)

    def _summarize(self, op: lightnorm.ForwardOp, rows: Dim) -> None:
        plan = self.plan
        results = ("mean", "range", "scale", "gamma_q")
        self.renew(*results)
        keys = (CHUNK, CHANNEL, ROW)
        operands = [self.at(name, keys) for name in results]
        operands += [self.at("state", keys, Format.I64), self.at("gamma", keys)]
        self.program.records.append(
            Record(
                Opcode.SUMMARIZE,
                (Dim(plan.chunks, limit=plan.chunks), self.channel, rows),
                operands,
                function=self.rounding,
                axis=1,
                core_grid=ONE_CORE,
                immediate=(
                    float(range_constant(plan.chunk_positions)),
                    float(np.float32(op.eps.value.data)),
                ),
                immediate_int=plan.positions,
            )
        )
        for name, value in zip(results, (op.mean, op.range, op.scale, op.gamma_q), strict=True):
            self.store_vector(name, value)
        row_bits = self.plan.held["state"].tile.strides_along((ROW,))[0]
        for row, value in ((STATE_ROWS - 2, op.argmax), (STATE_ROWS - 1, op.argmin)):
            if value in self.program.placements:
                dst = self.program.dram(self.plane(value), self.plane(value).strides_bits)
                src = self.at("state", (CHANNEL, CHUNK), Format.I64, row * row_bits)
                self.program.store([self.channel, Dim(plan.chunks, limit=plan.chunks)], dst, src)

    def second_pass(self) -> None:
        """xhat where it is kept, and y."""
        op = self.plan.op
        assert isinstance(op, lightnorm.ForwardOp)
        keys = (CHUNK, POSITION, CHANNEL)
        mean, scale, gamma_q, beta = (self.at(name, keys) for name in ("mean", "scale", "gamma_q", "beta"))
        x = self.position_box("x")
        for chunk in self.chunk_tiles():
            with self.position_tiles(chunk) as box:
                if not self.plan.keeps_tensor:
                    self._load(box)
                for name, value, parameters in (
                    ("xhat", op.xhat, (mean, scale)),
                    ("y", op.y, (mean, scale, gamma_q, beta)),
                ):
                    if value in self.program.placements:
                        self.renew(name)
                        made = self.position_box(name)
                        self.lightnorm(Opcode.NORM, box, (made, x, *parameters), 2)
                        self.program.store(box, self.tensor_box(value), made)

    def _load(self, box: Sequence[Dim]) -> None:
        self.renew("x")
        self.program.load(box, self.position_box("x"), self.tensor_box(self.plan.op.operands[0]))

    def _chunk_bits(self, chunk: int) -> int:
        return chunk * self.plan.held["state"].tile.strides_along((CHUNK,))[0]


class _Backward(_Emission):
    """Sums of the gradient; then the gradient of x."""

    def emit(self) -> None:
        """The constants, which no loop moves, then both passes."""
        self._load_constants()
        super().emit()

    def _load_constants(self) -> None:
        """The numbers of positions and chunks, and the range constant."""
        (plane,) = self.program.tables[self.plan.op].planes
        constants = self.at("constants", (ROW,))
        self.program.load([Dim(3, limit=3)], constants, self.program.dram(plane, (32,)))

    def first_pass(self) -> None:
        """dbeta and dgamma by lane sums, and from them what the positions need."""
        plan, op = self.plan, self.plan.op
        assert isinstance(op, lightnorm.BackwardOp)
        for name in ("argmax", "argmin"):
            self.renew(name)
            tile, plane = plan.held[name].tile, self.plane(getattr(op, name))
            dst = Operand(self.register(name), FORMATS[plane.format], Addressing.CHIP, tile.pitches)
            src = self.program.dram(plane, (axis.stride_bits for axis in tile.axes))
            self.program.load([self.frame.dim(axis) for axis in tile.axes], dst, src)
        for name, value in (("scale", op.scale), ("gamma_q", op.gamma_q)):
            self.renew(name)
            self.load_tile(name, value)
        for name in ("lanes of dbeta", "lanes of dgamma"):
            self._clear(name, op.scale)
        with self.loop(self.row_trips):
            self.renew("g", "xhat", "h", "products")
            self.load_tile("g", op.g)
            self.load_tile("xhat", op.xhat)
            # Rows behind the last position were filled with zeros, which change no sum.
            box = (Dim(plan.row_tile), self.channel)
            keys = (ROW, CHANNEL)
            h, products = self.at("h", keys), self.at("products", keys)
            self.lightnorm(Opcode.NARROW, box, (h, self.at("g", keys)), 1)
            self.program.vector("mul", box, (products, h, self.at("xhat", keys)))
            self._add_lanes("lanes of dbeta", "h")
            self._add_lanes("lanes of dgamma", "products")
        for name, lanes, value in (
            ("dbeta", "lanes of dbeta", op.dbeta),
            ("dgamma", "lanes of dgamma", op.dgamma),
        ):
            self.renew(name)
            dims = (self.channel, Dim(LANES, limit=LANES))
            keys = (CHANNEL, LANE)
            self.program.vector(
                "reduce_sum", dims, (self.at(name, keys), self.at(lanes, keys)), reduced_dims=1
            )
            self.store_vector(name, value)
        self._shares()

    def _shares(self) -> None:
        """mean = dbeta / R, share = (C * dgamma) / K, factor = scale * gamma_q."""
        self.renew("mean", "share", "factor")
        keys, dims = (CHANNEL,), (self.channel,)

        def constant(row: int) -> Operand:
            return replace(self.at("constants", keys), offset=32 * row)

        mean, share, factor, dbeta, dgamma = (
            self.at(name, keys) for name in ("mean", "share", "factor", "dbeta", "dgamma")
        )
        vector = self.program.vector
        vector("div", dims, (mean, dbeta, constant(POSITIONS_ROW)))
        vector("mul", dims, (share, constant(RANGE_CONSTANT_ROW), dgamma))
        vector("div", dims, (share, share, constant(CHUNKS_ROW)))
        vector("mul", dims, (factor, self.at("scale", keys), self.at("gamma_q", keys)))

    def second_pass(self) -> None:
        """dx from the gradient in ten bits, less its mean, with shares at the extrema of chunks."""
        plan, op = self.plan, self.plan.op
        assert isinstance(op, lightnorm.BackwardOp)
        keys = (CHUNK, POSITION, CHANNEL)
        mean, share, factor = (self.at(name, keys) for name in ("mean", "share", "factor"))
        h = self.position_box("h")
        for chunk in self.chunk_tiles():
            with self.position_tiles(chunk) as box:
                if not plan.keeps_tensor:
                    self.renew("g", "h")
                    g = self.position_box("g")
                    self.program.load(box, g, self.tensor_box(op.g))
                    self.lightnorm(Opcode.NARROW, box, (h, g), 2)
                self.program.vector("sub", box, (h, h, mean))
                extrema = [
                    self.at(name, keys, Format.I64, self._chunk_bits(name, chunk))
                    for name in ("argmax", "argmin")
                ]
                self.program.records.append(
                    Record(
                        Opcode.EXTREMA,
                        box,
                        (h, h, *extrema, share),
                        axis=2,
                        core_grid=ONE_CORE,
                        immediate_int=plan.chunk_positions,
                    )
                )
                self.program.vector("mul", box, (h, factor, h))
                self.lightnorm(Opcode.NARROW, box, (h, h), 2)
                if op.dx in self.program.placements:
                    self.program.store(box, self.tensor_box(op.dx), h)

    def _clear(self, name: str, any_value: SSAValue) -> None:
        """Fills a slot with zeros: a load of which nothing is inside."""
        self.renew(name)
        tile: Tile = self.plan.held[name].tile
        dims = [Dim(LANES, start=-LANES, limit=1), self.channel]
        dst = Operand(self.register(name), Format.F32, Addressing.CHIP, tile.pitches)
        self.program.load(dims, dst, self.program.dram(self.plane(any_value), (0, 32)))

    def _add_lanes(self, lanes: str, values: str) -> None:
        """Every lane adds its values of the tile one after the other."""
        taps = self.plan.row_tile // LANES
        dims = (Dim(LANES, limit=LANES), self.channel, Dim(taps, limit=taps))
        row_bits, channel_bits = self.plan.held[values].tile.strides_along((ROW, CHANNEL))
        source = Operand(
            self.register(values),
            Format.F32,
            Addressing.CHIP,
            (row_bits, channel_bits, LANES * row_bits),
        )
        place = self.at(lanes, (LANE, CHANNEL, "tap"))
        self.program.vector("window_add", dims, (place, place, source), reduced_dims=1)

    def _chunk_bits(self, name: str, chunk: int) -> int:
        return chunk * self.plan.held[name].tile.strides_along((CHUNK,))[0]
