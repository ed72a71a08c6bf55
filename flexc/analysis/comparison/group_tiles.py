"""Tiles of groups without a contraction: the largest that fit the buffers, as the schedule cuts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from flexc.analysis.comparison.machines import FP32_BITS, Machine
from flexc.analysis.comparison.workload import BlockOperand, Followed, GroupWork, Norm, Tensor, Walk
from flexc.passes.scheduling.buffer_slots import BufferName, BufferPlan
from flexc.passes.scheduling.lightnorm_plan import LANES, row_tile
from flexc.passes.scheduling.riding_statistics import STATE_ROWS
from flexc.passes.scheduling.vector_plan import largest_tile
from flexc.passes.scheduling.vector_steps import CHANNEL_GROUP, Domain
from flexc.target.machine import Target

LOADED: tuple[BufferName, ...] = ("operand", "held", "psum")
COPIED: tuple[BufferName, ...] = ("operand",)
MADE: tuple[BufferName, ...] = ("psum", "held", "operand")
NORM_TENSORS = {"forward": 3, "normalize": 3, "backward": 4}
"""Tensors in fp32 of which a batch norm has a tile on chip (x, xhat, y; g, xhat and their products)."""
NORM_VECTORS = {"forward": 6, "normalize": 4, "backward": 7 + 2 * LANES}
"""Values of 32 bits that it has for each channel."""
STATES = {"forward": STATE_ROWS, "normalize": 0, "backward": 2}
"""Values of 64 bits that it has for each channel and chunk."""


@dataclass(frozen=True)
class _Slot:
    """A place on the chip: bits for the whole walk, and the extents that a tile has its share of."""

    bits: int
    follows: tuple[Followed, ...]
    buffers: tuple[BufferName, ...]


@dataclass(frozen=True)
class WalkTiles:
    """Tiles of a walk; for each of the group's reads how often a part of it is loaded, and all elements.

    A part is loaded in the innermost loop that moves it, and again for every iteration of those around it;
    windows of neighbouring tiles overlap.
    """

    tiles: int
    loads: tuple[int, ...]
    elements: tuple[int, ...]


def walk_tiles(work: GroupWork, walk: Walk, machine: Machine, quantized: Sequence[BlockOperand]) -> WalkTiles:
    """Tiles of a group that walks its results."""
    every = tuple(map(Followed, range(len(walk.extents))))
    whole = prod(walk.extents)
    follows = walk.follows or tuple(every if one.elements >= whole else () for one in work.reads)
    slots = [
        _Slot(_bits_on_chip(one, machine), dims, LOADED)
        for one, dims in zip(work.reads, follows, strict=True)
    ]
    slots += [_Slot(_bits_on_chip(one, machine), every, MADE) for one in walk.results]
    slots += [_Slot(bits, every, MADE) for one in quantized for bits in planes_on_chip(one, machine)]
    tile = _tile(walk.extents, walk.granules, tuple(slots), machine.system)
    trips = _trips(walk.extents, tile)
    loads, elements = [], []
    for read, dims in zip(work.reads, follows, strict=True):
        moving = [one.place for one in dims if trips[one.place] > 1]
        loads.append(prod(trips[: moving[-1] + 1]) if moving else 1)
        count = read.elements * loads[-1] // prod(trips[place] for place in moving)
        for one in dims:
            if one.size:
                count = count * one.read(tile[one.place], walk.extents[one.place]) // one.size
        elements.append(count)
    return WalkTiles(prod(trips), tuple(loads), tuple(elements))


def copy_tiles(copy: Walk, read: Tensor, machine: Machine) -> int:
    """Tiles of a box that is copied."""
    every = tuple(map(Followed, range(len(copy.extents))))
    slot = _Slot(_bits_on_chip(read, machine), every, COPIED)
    return prod(_trips(copy.extents, _tile(copy.extents, copy.granules, (slot,), machine.system)))


@lru_cache(maxsize=1 << 12)
def dequantized_tiles(walk: Walk, operand: BlockOperand, system: Target) -> int:
    """Tiles of a dequantization, on the one core that does it."""

    def fits(tile: tuple[int, ...]) -> bool:
        rows, length = prod(tile[:-1]), tile[-1]
        buffers = BufferPlan(system)
        for size in (-(-length * operand.mantissa_bits // 8), -(-length // operand.group_length)):
            buffers.take("", "operand", rows * size, depth=2, per_core=True)
        buffers.take("", "psum", 4 * rows * length, depth=2, per_core=True)
        return buffers.overflow is None

    return prod(_trips(walk.extents, _largest(walk.extents, walk.granules, fits)))


def planes_on_chip(operand: BlockOperand, machine: Machine) -> tuple[int, int]:
    """Bits on chip of all mantissas, rows of them in whole bytes, and of all exponents."""
    bits, length = machine.mantissa_bits(operand), operand.row_length
    rows = -(-operand.elements // length)
    exponents = (machine.operand_bits(operand) or 0) - operand.elements * bits
    return rows * 8 * -(-length * bits // 8), exponents


def _bits_on_chip(tensor: Tensor, machine: Machine) -> int:
    """Bits of a whole tensor on chip, where values of ten bits take a word."""
    bits = FP32_BITS if tensor.storage == "fp10" else machine.tensor_bits(tensor)
    return tensor.elements * bits


@lru_cache(maxsize=1 << 12)
def _tile(
    extents: tuple[int, ...], granules: tuple[int, ...], slots: tuple[_Slot, ...], system: Target
) -> tuple[int, ...]:
    """The largest tile that fits."""

    def fits(tile: tuple[int, ...]) -> bool:
        buffers = BufferPlan(system)
        for slot in slots:
            bits, moves = slot.bits, False
            for one in slot.follows:
                of_tile, whole = tile[one.place], extents[one.place]
                bits = -(-bits * one.elements(of_tile, whole) // (one.size or whole))
                moves |= of_tile < whole
            depth = 1 if slot.buffers is LOADED and not moves else 2
            buffers.take_striped("", -(-bits // 8), depths=(depth,), buffers=slot.buffers)
        return buffers.overflow is None

    return _largest(extents, granules, fits)


def _largest(
    extents: tuple[int, ...], granules: tuple[int, ...], fits: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...]:
    """The largest tile that fits; the smallest where none does."""
    domain = Domain(extents, tuple(range(len(extents))))
    return largest_tile(domain, dict(enumerate(granules)), fits) or granules


def _trips(extents: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    """Tiles along each extent."""
    return tuple(-(-extent // size) for extent, size in zip(extents, tile, strict=True))


@dataclass(frozen=True)
class NormTiles:
    """Tiles of a LightNorm's tensors; ``kept``: all positions are on chip at once."""

    first_tiles: int
    """Of the pass for statistics or sums."""
    tiles: int
    """Of the pass for the results."""
    channel_tiles: int
    kept: bool


@lru_cache(maxsize=1 << 12)
def norm_tiles(norm: Norm, system: Target) -> NormTiles:
    """Tiles of chunks, positions and channels, as LightNorm's unit takes them."""
    extents = (norm.chunks, norm.positions // norm.chunks, norm.channels)

    def fits(tile: tuple[int, ...]) -> bool:
        buffers = BufferPlan(system)
        depth = 1 if tile == extents else 2
        positions = tile[0] * tile[1]
        if norm.direction == "backward":
            # Sums are taken in whole rows of lanes.
            positions = max(positions, row_tile((tile[0], tile[1], tile[2]), norm.positions))
        for _ in range(NORM_TENSORS[norm.direction]):
            buffers.take_striped("", 4 * positions * tile[2], depths=(depth,), buffers=MADE)
        rows = STATES[norm.direction]
        buffers.take_striped("", 8 * rows * norm.chunks * tile[2], depths=(1,), buffers=MADE)
        buffers.take_striped("", 4 * NORM_VECTORS[norm.direction] * tile[2], depths=(1,), buffers=MADE)
        return buffers.overflow is None

    granule = {2: CHANNEL_GROUP}
    tile = largest_tile(Domain(extents, (0, 1, 2)), granule, fits) or (1, 1, CHANNEL_GROUP)
    tiles = prod(-(-extent // size) for extent, size in zip(extents, tile, strict=True))
    channel_tiles = -(-norm.channels // tile[2])
    first_tiles = tiles
    if norm.direction == "backward":
        rows = row_tile((tile[0], tile[1], tile[2]), norm.positions)
        first_tiles = channel_tiles * -(-norm.positions // rows)
    return NormTiles(first_tiles, tiles, channel_tiles, tile[:2] == extents[:2])
