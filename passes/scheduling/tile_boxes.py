"""Tiles: the part of a tensor that one iteration of the loops copies to, or computes in, a slot.

A tile is a box of axes. Each axis says how the tensor is walked (in DRAM), how many elements of it one core
takes, how the box moves from one tile to the next along the loop dimensions, and how far an element moves in
the slot when a loop dimension of the computation advances by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

NO_LIMIT = 0x7FFFFFFF


@dataclass(frozen=True)
class TileAxis:
    """One axis of a box. Coordinates and counts are in elements of the tensor, the stride is in bits.

    ``advance[d]`` is added to the coordinate from one tile along loop dimension ``d`` to the next one;
    ``position[d]`` is the distance, in elements of the box, between neighbours in ``d`` inside a tile, and
    ``origin`` where in the box the first element of all loop dimensions is.
    """

    stride_bits: int
    count: int
    limit: int = NO_LIMIT
    start: int = 0
    step: int = 1
    advance: Mapping[Hashable, int] = field(default_factory=dict)
    position: Mapping[Hashable, int] = field(default_factory=dict)
    origin: int = 0

    def across(self, cores: Mapping[Hashable, int]) -> TileAxis:
        """The axis of the tiles of all cores together, ``cores[d]`` of them side by side along ``d``."""
        beyond = sum((cores.get(dim, 1) - 1) * more // self.step for dim, more in self.advance.items())
        advance = {dim: more * cores.get(dim, 1) for dim, more in self.advance.items()}
        return replace(self, count=self.count + beyond, advance=advance)


@dataclass(frozen=True)
class Tile:
    """A box as it lies in a slot: row-major, the innermost ``packed_axes`` padded together to whole bytes."""

    axes: tuple[TileAxis, ...]
    bits: int
    packed_axes: int = 1

    @cached_property
    def _pitches(self) -> tuple[int, ...]:
        pitch = self.bits
        found = [pitch]
        axes, packed = len(self.axes), self.packed_axes
        for depth, axis in enumerate(reversed(self.axes), start=1):
            pitch *= axis.count
            if depth in (packed, axes):
                pitch = -(-pitch // 8) * 8
            found.append(pitch)
        return tuple(reversed(found))

    @property
    def pitches(self) -> tuple[int, ...]:
        """Bits in the slot between neighbours of each axis."""
        return self._pitches[1:]

    @property
    def size_bytes(self) -> int:
        """Bytes of a buffer that holds the tile."""
        return self._pitches[0] // 8

    @property
    def origin_bits(self) -> int:
        """Bits in the slot before the first element of all loop dimensions."""
        return sum(axis.origin * pitch for axis, pitch in zip(self.axes, self.pitches, strict=True))

    def strides_along(self, dims: Iterable[Hashable]) -> tuple[int, ...]:
        """Bits in the slot from one iteration of each loop dimension inside a tile to the next."""
        pitches = self.pitches
        return tuple(
            sum(axis.position.get(dim, 0) * pitch for axis, pitch in zip(self.axes, pitches, strict=True))
            for dim in dims
        )

    def moves_with(self, dim: Hashable) -> bool:
        """Whether loop dimension ``dim`` moves the box."""
        return any(axis.advance.get(dim, 0) for axis in self.axes)
