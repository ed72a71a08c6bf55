"""LightNorm's statistics on the write-back of a contraction: which tiles carry them, and what lies on chip.

The state of a chunk (sum, extrema, their first positions) is the same in whatever order and tiles positions
come, so each tile of results joins it while it is in the accumulators. Where loops over channels stand inside
loops over positions, the state is that of all channels; otherwise that of one tile of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from math import gcd, prod

from flexc.ir import lightnorm
from flexc.passes.scheduling.buffer_slots import BufferName, BufferPlan, BufferSlot
from flexc.passes.scheduling.contraction_tiles import REDUCED_DIMS, ContractionTiles
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

STATE_ROWS = 5
CHUNK, CHANNEL, ROW = "chunk", "channel", "row"
VECTORS = ("gamma", "mean", "range", "scale", "gamma_q")
BUFFERS: tuple[BufferName, ...] = ("psum", "held", "operand")


@dataclass(frozen=True)
class RidingStatistics:
    """The statistics ``op`` of the channels of a tile, or of all where they are ``whole``.

    ``outer_loops`` are the loops around the state. ``position_strides`` weigh the axes of the result in the
    position of an element.
    """

    op: lightnorm.StatisticsOp
    whole: bool
    outer_loops: int
    chunks: int
    chunk_positions: int
    position_strides: tuple[int, ...]
    channels: TileAxis
    state: Tile
    state_slot: BufferSlot
    vectors: Mapping[str, BufferSlot]

    @property
    def positions(self) -> int:
        """R, the values of a channel."""
        return self.chunks * self.chunk_positions


def chunks_of(op: lightnorm.StatisticsOp) -> tuple[int, int]:
    """The chunks of a channel and the positions of each."""
    positions = prod(shape_of(op.x)) // shape_of(op.x)[1]
    chunks = gcd(positions, int(op.num_chunks.value.data))
    return chunks, positions // chunks


def plan_statistics(
    op: lightnorm.StatisticsOp, tiles: ContractionTiles, channels: TileAxis, buffers: BufferPlan
) -> RidingStatistics:
    """The plan; ``channels`` is the channel axis of the tiles of all cores together.

    Whether the buffers have room is for the caller to ask.
    """
    outer, whole = _loops_around(tiles)
    if whole:
        channels = replace(channels, count=channels.limit, advance={})
    of_channels = replace(channels, count=min(channels.count, channels.limit), position={CHANNEL: 1})
    chunks, chunk_positions = chunks_of(op)
    state = Tile((_axis(ROW, STATE_ROWS), _axis(CHUNK, chunks), of_channels), 64)
    depths = (2, 1) if outer else (1,)
    state_slot = buffers.take_striped("statistics", state.size_bytes, depths=depths, buffers=BUFFERS)
    size = Tile((of_channels,), 32).size_bytes
    vectors = {name: buffers.take_striped(name, size, depths=depths, buffers=BUFFERS) for name in VECTORS}
    strides = _position_strides(op, tiles)
    return RidingStatistics(
        op, whole, outer, chunks, chunk_positions, strides, of_channels, state, state_slot, vectors
    )


def _loops_around(tiles: ContractionTiles) -> tuple[int, bool]:
    """The loops outside the state, and whether it is that of all channels."""
    assert tiles.channel_axis is not None
    moving = tiles.result[tiles.channel_axis].advance
    kinds = [dim in moving for dim, _ in tiles.extents.loops() if dim not in REDUCED_DIMS]
    outer = next((level for level, of_channels in enumerate(kinds) if not of_channels), len(kinds))
    return (0, True) if any(kinds[outer:]) else (outer, False)


def _position_strides(op: lightnorm.StatisticsOp, tiles: ContractionTiles) -> tuple[int, ...]:
    images, _, *spatial = shape_of(op.x)
    extents = (images, 1, *spatial)
    of_dim = [prod(extents[dim + 1 :]) for dim in range(len(extents))]
    return tuple(
        0
        if index == tiles.channel_axis
        else axis.multiplier * next((of_dim[dim] for dim in reversed(axis.dims) if extents[dim] > 1), 1)
        for index, axis in enumerate(tiles.result)
    )


def _axis(key: Hashable, count: int) -> TileAxis:
    return TileAxis(0, count, count, position={key: 1})
