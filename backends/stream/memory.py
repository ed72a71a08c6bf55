"""Modelled memories: bytes, and for every byte which of its bits hold something.

Nothing is valid until it is written. Validity is kept by ``validity``: for most buffers it is one range of
bytes.

On-chip buffers that a broadcast filled keep one copy for all the cores of a core axis; the copies are
separated when something writes them apart. No program can see the difference.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import Addressing, Space
from flexc.backends.stream.program import MachineLimits
from flexc.backends.stream.validity import NOTHING, WHOLE_BYTE, Validity

Grid = tuple[int, ...]
Bytes = NDArray[np.uint8]
_stamps = count()


class Buffer:
    """One buffer of a slot.

    ``content`` is uint8 of shape [size] (DRAM, striped) or [*copies, size] where ``copies`` has for every
    core axis of ``grid`` its cores or, where they all hold the same, 1. Once it has been used with core grids
    of several shapes it is [cores, size] (``flat``), the grids being the first cores of the machine, row by
    row. ``valid`` says which of it was written. ``derived`` keeps what readers made of the content until it
    changes, and ``stamp`` is another number then.
    """

    __slots__ = (
        "_pool",
        "content",
        "copies",
        "cores",
        "derived",
        "flat",
        "grid",
        "per_core",
        "size",
        "stamp",
        "valid",
    )

    def __init__(
        self, size: int, *, cores: int, content: Bytes | None = None, valid: Validity | None = None
    ) -> None:
        """``cores`` is 0 where the cores have no buffers of their own."""
        self.size = size
        self.cores = cores
        self.per_core = cores > 0
        self.grid: Grid | None = None
        self.flat = False
        self.copies: Grid = ()
        self.derived: dict[Hashable, Any] = {}
        self.stamp = next(_stamps)
        self._pool: dict[Grid, Bytes] = {}
        if content is None:
            content = NOTHING if self.per_core else np.zeros(size, np.uint8)
        self.content = content
        self.valid = Validity(content.shape) if valid is None else valid

    def empty(self) -> None:
        """Forget everything."""
        self._changed()
        self.grid = None
        self.flat = False
        if not self.per_core:
            self.valid.clear((self.size,))

    def for_write(self, grid: Grid, distinct: tuple[bool, ...]) -> Bytes:
        """Content, [*copies, size] for the cores of ``grid``, to be written to.

        ``distinct`` says along which core axes the cores write different things; the others may share a copy.
        """
        self._changed()
        if not self.per_core:
            return self.content
        if self.grid is None:
            self.grid = grid
            self._take(tuple(n if apart else 1 for n, apart in zip(grid, distinct, strict=True)))
            self.valid.clear(self.content.shape)
            return self.content
        if self.flat or self.grid != grid:
            return self._flattened(grid)
        wanted = tuple(
            n if apart or have > 1 else 1 for n, apart, have in zip(grid, distinct, self.copies, strict=True)
        )
        if wanted != self.copies:
            content = self.content
            self._take(wanted)
            self.content[...] = content
            self.valid.spread(self.content.shape)
        return self.content

    def for_read(self, grid: Grid) -> Bytes:
        """Content, [*copies, size] for the cores of ``grid``.

        Raises StreamFault when the buffer holds nothing.
        """
        if not self.per_core:
            return self.content
        if self.grid is None:
            raise StreamFault("reads a buffer that holds nothing")
        if self.flat or self.grid != grid:
            return self._flattened(grid)
        return self.content

    def validity(self, grid: Grid) -> Bytes:
        """The validity of each byte of what :meth:`for_read` or :meth:`for_write` gave; may be changed."""
        pairs = self.valid.of_bytes()
        return pairs[: prod(grid)].reshape(*grid, self.size) if self.flat else pairs

    def _flattened(self, grid: Grid) -> Bytes:
        if not self.flat:
            assert self.grid is not None
            content = self.content
            held = prod(self.grid)
            every = (*self.grid, self.size)
            self._take((self.cores,))
            self.content[:held] = np.broadcast_to(content, every).reshape(held, self.size)
            self.valid.flatten(every, self.cores)
            self.flat = True
        return self.content[: prod(grid)].reshape(*grid, self.size)

    def _changed(self) -> None:
        self.stamp = next(_stamps)
        if self.derived:
            self.derived.clear()

    def _take(self, copies: Grid) -> None:
        self.copies = copies
        found = self._pool.get(copies)
        if found is None:
            found = self._pool[copies] = np.zeros((*copies, self.size), np.uint8)
        self.content = found


class Slot:
    """A declared slot register: a ring of buffers, one of which is current."""

    __slots__ = ("addressing", "buffers", "current", "end", "position", "space", "start")

    def __init__(self, space: Space, start: int, end: int, buffers: list[Buffer]) -> None:
        self.space = space
        if space is Space.DRAM:
            self.addressing = Addressing.GLOBAL
        else:
            self.addressing = Addressing.LOCAL if buffers[0].per_core else Addressing.CHIP
        self.start = start
        self.end = end
        self.buffers = buffers
        self.position = 0
        self.current = buffers[0]

    def next(self) -> None:
        """Make the next buffer of the ring current, holding nothing."""
        self.position = (self.position + 1) % len(self.buffers)
        self.current = self.buffers[self.position]
        self.current.empty()


class Memories:
    """DRAM, the cores' buffers, and the slots declared in them."""

    def __init__(self, limits: MachineLimits, dram_bytes_used: int) -> None:
        """``dram_bytes_used`` is the part of DRAM that the program can reach; only that is modelled."""
        self.limits = limits
        self.dram = np.zeros(dram_bytes_used, np.uint8)
        self.dram_valid = np.zeros(dram_bytes_used, np.uint8)
        self.slots: dict[int, Slot] = {}
        self._in_order: dict[Space, list[tuple[int, int, int]]] = {space: [] for space in Space}

    def write_initial(self, address: int, content: Bytes) -> None:
        """Put bytes into DRAM before the program starts."""
        self.dram[address : address + content.size] = content
        self.dram_valid[address : address + content.size] = WHOLE_BYTE

    def capacity_bytes(self, space: Space) -> int:
        """The size of a memory (of one core's)."""
        if space is Space.DRAM:
            return self.dram.size
        return {
            Space.OPERAND: self.limits.operand_buffer_bytes,
            Space.HELD: self.limits.held_buffer_bytes,
            Space.PSUM: self.limits.psum_buffer_bytes,
        }[space]

    def declare(
        self, register: int, space: Space, *, address: int, size: int, depth: int, per_core: bool, keep: bool
    ) -> None:
        """Declare a slot, ending those it overlaps. Raises StreamFault when it does not fit the memory."""
        striped = space is not Space.DRAM and not per_core
        share = -(-size // self.limits.cores) if striped else size
        end = address + share * depth
        if end > self.capacity_bytes(space):
            raise StreamFault(
                f"slot {register} ends at byte {end} of {space.name}, which has {self.capacity_bytes(space)}"
            )
        self._end(register, space, address, end)
        if space is Space.DRAM:
            buffers = []
            for start in range(address, end, size):
                content, pairs = self.dram[start : start + size], self.dram_valid[start : start + size]
                if not keep:
                    pairs.fill(0)
                buffers.append(Buffer(size, cores=0, content=content, valid=Validity((size,), pairs)))
        else:
            buffers = [Buffer(size, cores=self.limits.cores if per_core else 0) for _ in range(depth)]
        self.slots[register] = Slot(space, address, end, buffers)
        insort(self._in_order[space], (address, end, register))

    def _end(self, register: int, space: Space, start: int, end: int) -> None:
        """End the slots of a space that [start, end) overlaps, and that of a register."""
        before = self.slots.pop(register, None)
        if before is not None:
            self._in_order[before.space].remove((before.start, before.end, register))
        # Slots of one space do not overlap, so those in question are neighbours.
        in_order = self._in_order[space]
        last = bisect_left(in_order, (end,))
        first = last
        while first > 0 and in_order[first - 1][1] > start:
            first -= 1
            del self.slots[in_order[first][2]]
        del in_order[first:last]

    def slot(self, register: int) -> Slot:
        """The slot in a register. Raises StreamFault when it was not declared, or was ended since."""
        found = self.slots.get(register)
        if found is None:
            raise StreamFault(f"slot {register} is not declared, or its memory was given away")
        return found
