"""LightNorm's backward pass: sums over all positions in lanes, then every position with them."""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import SSAValue

from flexc.backends.stream.emit_program import FORMATS, ONE_CORE
from flexc.backends.stream.isa import Addressing, Format, Opcode
from flexc.backends.stream.lightnorm_emission import LightNormEmission
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir import lightnorm
from flexc.passes.scheduling.lightnorm_plan import LANE, LANES, POSITION
from flexc.passes.scheduling.riding_statistics import CHANNEL, CHUNK, ROW
from flexc.passes.scheduling.tile_boxes import Tile

POSITIONS_ROW, RANGE_CONSTANT_ROW, CHUNKS_ROW = range(3)
"""Rows of the backward pass's table of constants."""


class BackwardEmission(LightNormEmission):
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
