"""The tile programs of LightNorm's training passes: what lies on chip, and how chunks and channels are cut.

Both read their tensor twice where it does not fit: once for sums over all positions, once to normalize with
them. Channels are the outermost loop; chunks are told apart by the program, positions of a chunk are a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from math import gcd, prod
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import Place, error
from flexc.ir import lightnorm
from flexc.ir.placement import Placement, Plane
from flexc.passes.scheduling.buffer_slots import BufferPlan, BufferSlot
from flexc.passes.scheduling.contraction_tiles import merged_stride
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.riding_statistics import CHANNEL, CHUNK, ROW, STATE_ROWS
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import largest_plan
from flexc.passes.scheduling.vector_steps import CHANNEL_GROUP, Domain
from flexc.target.machine import Target

LightNormOp: TypeAlias = lightnorm.ForwardOp | lightnorm.NormalizeOp | lightnorm.BackwardOp
PlacementOf: TypeAlias = Callable[[SSAValue], Placement]
LANES = 16
"""Lanes of a lane sum (numerics, section 3.3)."""
POSITION, LANE = "position", "lane"


@dataclass(frozen=True)
class TileSlot:
    """A tile on chip and its slot."""

    tile: Tile
    slot: BufferSlot


@dataclass(frozen=True)
class LightNormPlan:
    """Tiles of ``chunk_tile`` chunks, ``position_tile`` positions of each and ``channel_tile`` channels.

    ``held`` are the slots by name. The backward pass sums over tiles of ``row_tile`` positions of all chunks.
    """

    op: LightNormOp
    chunks: int
    chunk_positions: int
    channels: int
    tile: tuple[int, int, int]
    held: Mapping[str, TileSlot]
    buffers: BufferPlan

    @property
    def positions(self) -> int:
        """R, the values of a channel."""
        return self.chunks * self.chunk_positions

    @property
    def keeps_tensor(self) -> bool:
        """Whether all positions of a channel are on chip at once."""
        return self.tile[:2] == (self.chunks, self.chunk_positions)

    @property
    def row_tile(self) -> int:
        """Positions of a tile of sums: a multiple of the lanes."""
        return row_tile(self.tile, self.positions)

    @property
    def channel_trips(self) -> int:
        """Iterations of the loop over channels."""
        return -(-self.channels // self.tile[2])

    @property
    def position_trips(self) -> int:
        """Iterations of the loop over the positions of a chunk."""
        return -(-self.chunk_positions // self.tile[1])


def row_tile(tile: tuple[int, int, int], positions: int) -> int:
    """The largest multiple of the lanes in a tile, or all positions rounded up to one."""
    in_tile = tile[0] * tile[1]
    if in_tile >= positions:
        return -(-positions // LANES) * LANES
    return max(LANES, in_tile // LANES * LANES)


def position_stride(plane: Plane, shape: tuple[int, ...]) -> int | None:
    """Bits from one position of a channel to the next; None where they do not lie evenly."""
    return merged_stride(plane, shape, (0, *range(2, len(shape))))


def check_positions(op: Operation, placement_of: PlacementOf, place: Place) -> None:
    """Raises CompileError FX430 where positions of an operand or result do not lie one after the other."""
    for value in (*op.operands, *op.results):
        if len(shape_of(value)) < 2 or shape_of(value) != shape_of(op.operands[0]):
            continue
        if position_stride(placement_of(value).planes[0], shape_of(value)) is None:
            raise error(
                "FX430",
                "LightNorm of a tensor whose channels are not innermost in memory",
                place=place,
                hint="a convolution, or an op that reads the result of one, before or behind it would help",
            )


def plan_lightnorm(op: LightNormOp, placement_of: PlacementOf, target: Target) -> LightNormPlan:
    """The largest tiles that fit; whether any do is for the caller to ask (``buffers.overflow``)."""
    shape = shape_of(op.operands[0])
    positions, channels = prod(shape) // shape[1], shape[1]
    if isinstance(op, lightnorm.ForwardOp):
        chunks = gcd(positions, int(op.num_chunks.value.data))
    elif isinstance(op, lightnorm.NormalizeOp):
        chunks = 1
    else:
        chunks = shape_of(op.argmax)[1]
    domain = Domain((chunks, positions // chunks, channels), (0, 1, 2))
    granule = {2: CHANNEL_GROUP}

    def plan(extents: tuple[int, ...], depth: int) -> LightNormPlan:
        tile = (extents[0], extents[1], extents[2])
        return _Slots(op, domain.shape, tile, placement_of, target, depth).plan()

    return largest_plan(domain, granule, [partial(plan, depth=depth) for depth in (2, 1)])


class _Slots:
    """The slots for one tile; moving ones have ``depth`` buffers."""

    def __init__(
        self,
        op: LightNormOp,
        extents: tuple[int, ...],
        tile: tuple[int, int, int],
        placement_of: PlacementOf,
        target: Target,
        depth: int,
    ) -> None:
        self.op = op
        self.chunks, self.chunk_positions, self.channels = extents
        self.tile = tile
        self.placement_of = placement_of
        self.depth = 1 if tile == extents else depth
        self.buffers = BufferPlan(target)
        self.held: dict[str, TileSlot] = {}

    def plan(self) -> LightNormPlan:
        if isinstance(self.op, lightnorm.ForwardOp):
            self._forward(self.op)
        elif isinstance(self.op, lightnorm.NormalizeOp):
            self._normalize(self.op)
        else:
            self._backward(self.op)
        return LightNormPlan(
            self.op,
            self.chunks,
            self.chunk_positions,
            self.channels,
            self.tile,
            self.held,
            self.buffers,
        )

    def _forward(self, op: lightnorm.ForwardOp) -> None:
        self._images(op)
        self._take("state", Tile((self._axis(ROW, STATE_ROWS), self._of_chunks(), self._of_channels()), 64))
        for name in ("gamma", "beta", "mean", "range", "scale", "gamma_q"):
            self._take(name, Tile((self._of_channels(32),), 32))

    def _normalize(self, op: lightnorm.NormalizeOp) -> None:
        self._images(op)
        for name in ("mean", "scale", "gamma_q", "beta"):
            self._take(name, Tile((self._of_channels(32),), 32))

    def _images(self, op: lightnorm.ForwardOp | lightnorm.NormalizeOp) -> None:
        self._image("x", op.x)
        self._image("xhat", op.xhat)
        self._image("y", op.y)

    def _backward(self, op: lightnorm.BackwardOp) -> None:
        rows = row_tile(self.tile, self.chunks * self.chunk_positions)
        # Slots of rows are also the place of tiles of chunks and positions.
        held = max(rows, self.tile[0] * self.tile[1])
        for name in ("g", "xhat", "h", "products"):
            value = op.xhat if name == "xhat" else op.g
            self._take(name, self._rows(value, rows), self.depth, self._rows(value, held).size_bytes)
        for name in ("lanes of dbeta", "lanes of dgamma"):
            self._take(name, Tile((self._axis(LANE, LANES), self._of_channels()), 32))
        for name in ("dbeta", "dgamma", "mean", "share", "factor", "scale", "gamma_q"):
            self._take(name, Tile((self._of_channels(32),), 32))
        for name, value in (("argmax", op.argmax), ("argmin", op.argmin)):
            by_channel, by_chunk = self.placement_of(value).planes[0].strides_bits
            self._take(name, Tile((self._of_channels(by_channel), self._of_chunks(by_chunk)), 64))
        self._take("constants", Tile((self._axis(ROW, 3, 32),), 32))

    def _image(self, name: str, value: SSAValue) -> None:
        chunk, positions, channels = self._image_axes(value)
        self._take(name, Tile((chunk, positions, channels), 32), self.depth)

    def _rows(self, value: SSAValue, rows: int) -> Tile:
        """Positions of all chunks, then channels."""
        stride_bits, channel_bits = self._strides(value)
        total = self.chunks * self.chunk_positions
        moved = row_tile(self.tile, total)
        of_rows = TileAxis(stride_bits, rows, total, advance={ROW: moved}, position={ROW: 1})
        return Tile((of_rows, self._of_channels(channel_bits)), 32)

    def _image_axes(self, value: SSAValue) -> tuple[TileAxis, TileAxis, TileAxis]:
        stride_bits, channel_bits = self._strides(value)
        return (
            TileAxis(
                stride_bits * self.chunk_positions,
                self.tile[0],
                self.chunks,
                position={CHUNK: 1},
            ),
            TileAxis(
                stride_bits,
                self.tile[1],
                self.chunk_positions,
                advance={POSITION: self.tile[1]},
                position={POSITION: 1},
            ),
            self._of_channels(channel_bits),
        )

    def _strides(self, value: SSAValue) -> tuple[int, int]:
        plane = self.placement_of(value).planes[0]
        return position_stride(plane, shape_of(value)) or 0, plane.strides_bits[1]

    def _of_chunks(self, stride_bits: int = 0) -> TileAxis:
        return TileAxis(stride_bits, self.chunks, self.chunks, position={CHUNK: 1})

    def _of_channels(self, stride_bits: int = 0) -> TileAxis:
        tile = self.tile[2]
        return TileAxis(stride_bits, tile, self.channels, advance={CHANNEL: tile}, position={CHANNEL: 1})

    def _axis(self, key: Hashable, count: int, stride_bits: int = 0) -> TileAxis:
        return TileAxis(stride_bits, count, count, position={key: 1})

    def _take(self, name: str, tile: Tile, depth: int = 1, size_bytes: int = 0) -> None:
        slot = self.buffers.take_striped(
            name, size_bytes or tile.size_bytes, depths=(depth,), buffers=("psum", "held", "operand")
        )
        self.held[name] = TileSlot(tile, slot)
