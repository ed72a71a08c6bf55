"""How the LightNorm kernels walk a tensor: groups of four channels as four planes (section 5).

Plane k holds channels k, k + 4, k + 8, ..., so the four members of a group stand at one place of four
planes, and whatever a group needs is arithmetic between whole planes. Channels that the last group lacks
are zeros. A tensor is worked through in blocks that stay in a second-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty

CHANNELS_PER_GROUP = 4
BLOCK_ELEMENTS = 1 << 16
"""256 KiB: planes, integers beside them and spread constants together fill a second-level cache."""
Scalar = TypeVar("Scalar", bound=np.generic)
Block = tuple[slice, slice, slice]
"""Outer positions, groups and inner positions."""


@dataclass(frozen=True)
class GroupLayout:
    """A tensor [N, C, ...] as [outer, C, inner] in the order of its memory.

    Channels last: outer is every position and inner is 1. Otherwise outer is N and inner is every spatial
    position. Either way position = outer index * inner + inner index.
    """

    shape: tuple[int, ...]
    channels_last: bool

    @staticmethod
    def of(x: NDArray[Any]) -> GroupLayout:
        """The layout nearest to the memory of x."""
        strides = [abs(stride) for stride, extent in zip(x.strides, x.shape, strict=True) if extent > 1]
        return _known(x.shape, x.shape[1] > 1 and abs(x.strides[1]) == min(strides))

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[1]

    @cached_property
    def groups(self) -> int:
        """Groups of channels, the last of which may lack some."""
        return -(-self.channels // CHANNELS_PER_GROUP)

    @cached_property
    def positions(self) -> int:
        """R, the values of a channel."""
        return self.shape[0] * prod(self.shape[2:])

    @cached_property
    def outer(self) -> int:
        """Extent of the outer positions."""
        return self.positions if self.channels_last else self.shape[0]

    @cached_property
    def inner(self) -> int:
        """Extent of the inner positions."""
        return 1 if self.channels_last else prod(self.shape[2:])

    @cached_property
    def block_shape(self) -> tuple[int, int, int]:
        """Outer positions, groups and inner positions of the largest blocks."""
        budget = BLOCK_ELEMENTS // CHANNELS_PER_GROUP
        inner = _even_step(self.inner, budget)
        groups = _even_step(self.groups, budget // inner)
        return _even_step(self.outer, budget // (inner * groups)), groups, inner

    def view(self, x: NDArray[Scalar]) -> NDArray[Scalar]:
        """x [N, C, ...] as [outer, C, inner]; a copy only where its memory has another order."""
        if self.channels_last:
            last = x.transpose(0, *range(2, x.ndim), 1)
            return last.reshape(self.outer, self.channels, 1)
        return x.reshape(self.outer, self.channels, self.inner)

    def empty(self) -> NDArray[np.float32]:
        """A tensor [N, C, ...] of this layout, whose :meth:`view` is no copy."""
        if not self.channels_last:
            return np.empty(self.shape, np.float32)
        last = np.empty((self.shape[0], *self.shape[2:], self.channels), np.float32)
        return last.transpose(0, last.ndim - 1, *range(1, last.ndim - 1))

    def empty_planes(self) -> NDArray[np.float32]:
        """Planes [4, outer, groups, inner] of a whole tensor, for :meth:`by_channel`."""
        if self.channels_last:
            return aligned_empty((CHANNELS_PER_GROUP, self.outer, self.groups, 1), np.float32)
        planes = aligned_empty((CHANNELS_PER_GROUP, self.groups, self.outer, self.inner), np.float32)
        return planes.transpose(0, 2, 1, 3)

    def by_channel(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Planes of a whole tensor as [4, groups, R], not copied."""
        return planes.transpose(0, 2, 1, 3).reshape(CHANNELS_PER_GROUP, self.groups, self.positions)

    def from_channel_planes(self, planes: NDArray[Scalar]) -> NDArray[Scalar]:
        """[4, groups, ...] as [C, ...]."""
        return planes.swapaxes(0, 1).reshape(-1, *planes.shape[2:])[: self.channels]

    def group_runs(self) -> Iterator[slice]:
        """The groups of the blocks; constants of channels are spread out once a run."""
        _, step, _ = self.block_shape
        return _cut(self.groups, step)

    def blocks(self, groups: slice) -> Iterator[Block]:
        """The blocks of a run of groups, in order of position."""
        outer_step, _, inner_step = self.block_shape
        for outer in _cut(self.outer, outer_step):
            for inner in _cut(self.inner, inner_step):
                yield outer, groups, inner

    def spread(self, vectors: Sequence[NDArray[np.float32]], groups: slice) -> NDArray[np.float32]:
        """Vectors [C], each repeated over a largest block [4, outer, groups, inner] of a run of groups."""
        outer, most_groups, inner = self.block_shape
        first, last = CHANNELS_PER_GROUP * groups.start, CHANNELS_PER_GROUP * groups.stop
        padded = np.zeros((len(vectors), last - first), np.float32)
        for row, vector in zip(padded, vectors, strict=True):
            row[: self.channels - first] = vector[first:last]
        by_group = padded.reshape(len(vectors), -1, CHANNELS_PER_GROUP)
        planes = by_group.transpose(0, 2, 1)[:, :, np.newaxis, :, np.newaxis]
        if outer == most_groups == 1:
            # One value a plane: NumPy repeats it as fast as it would read it.
            return planes
        spread = aligned_empty((*planes.shape[:2], outer, planes.shape[3], inner), np.float32)
        spread[...] = planes
        return spread

    def load(self, source: NDArray[np.float32], block: Block, planes: NDArray[np.float32]) -> None:
        """Copy a block of ``source`` [outer, C, inner] to its planes."""
        for k, plane in enumerate(planes):
            members = source[_members(block, k)]
            present = members.shape[1]
            plane[:, :present] = members
            plane[:, present:] = 0

    def store(self, planes: NDArray[np.float32], block: Block, result: NDArray[np.float32]) -> None:
        """Copy planes to a block of ``result`` [outer, C, inner]."""
        for k, plane in enumerate(planes):
            members = result[_members(block, k)]
            members[...] = plane[:, : members.shape[1]]


@lru_cache(maxsize=1024)
def _known(shape: tuple[int, ...], channels_last: bool) -> GroupLayout:
    """A layout whose properties need not be worked out again."""
    return GroupLayout(shape, channels_last)


@dataclass(frozen=True)
class PlanesOfBlock:
    """Memory for one block: planes [4, outer, groups, inner], as many integers, and one integer a group."""

    planes: NDArray[np.float32]
    work: NDArray[np.int32]
    of_group: NDArray[np.int32]


class BlockScratch:
    """Memory for the largest block of a layout, used for one after the other."""

    def __init__(self, layout: GroupLayout) -> None:
        elements = CHANNELS_PER_GROUP * prod(layout.block_shape)
        self._planes, work = aligned_empty((2, elements), np.float32)
        self._work = work.view(np.int32)
        self._of_group = aligned_empty((elements // CHANNELS_PER_GROUP,), np.int32)

    def cut(self, block: Block) -> PlanesOfBlock:
        """The part that a block needs, without gaps; its content is whatever was there."""
        extents = tuple(run.stop - run.start for run in block)
        groups = prod(extents)
        elements = CHANNELS_PER_GROUP * groups
        return PlanesOfBlock(
            self._planes[:elements].reshape(CHANNELS_PER_GROUP, *extents),
            self._work[:elements].reshape(CHANNELS_PER_GROUP, *extents),
            self._of_group[:groups].reshape(extents),
        )


def like_block(spread: NDArray[np.float32], planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of :meth:`GroupLayout.spread` vectors that a block, perhaps a smaller one, needs."""
    return spread[:, :, : planes.shape[1], :, : planes.shape[3]]


def _members(block: Block, k: int) -> Block:
    outer, groups, inner = block
    channels = slice(
        CHANNELS_PER_GROUP * groups.start + k, CHANNELS_PER_GROUP * groups.stop, CHANNELS_PER_GROUP
    )
    return outer, channels, inner


def _cut(extent: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, extent)) for start in range(0, extent, step))


def _even_step(extent: int, most: int) -> int:
    """A step of 1 to ``most`` that cuts ``extent`` into the fewest parts, of nearly one size."""
    parts = -(-extent // max(1, most))
    return -(-extent // max(1, parts)) if extent else 1
