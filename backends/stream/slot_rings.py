"""Rings of buffers and the memories they lie in, as far as it matters when buffers may be used.

What a buffer holds is summed up in two cycles, its *times*: from the first on it may be read, from the second
on it may be written over. A buffer that ``next`` makes the present one again waits for the last use of its
previous content; one of a new slot waits for all those whose memory it takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.columns import Integers
from flexc.backends.stream.isa import Opcode, Space

Times: TypeAlias = list[int]
"""[readable, writable]; a list, since the records that use a buffer share it and change it."""
Ring: TypeAlias = list[Times]
"""The buffers of one declaration of a slot, from the present one on."""
Move: TypeAlias = Callable[[], None]
SPACE = 1 << 60
"""Distance of memories in one count of bytes."""
MOST_BYTES = 1 << 50
"""More than memories have: slots further on are as if they all lay there."""
MOST_PAIRS = 1 << 22
"""Buffers of parts of memory that are worked on at once, which bounds the memory that it takes."""
_KEY_BITS = 32
"""More than indices of records take."""


class SlotRings:
    """The rings of a program, one for each slot record, before anything is executed.

    ``records`` [records] are those of a program whose records mean something (see ``verify``).
    """

    def __init__(self, records: NDArray[Any], cores: int) -> None:
        slots = np.flatnonzero(records["opcode"] == Opcode.SLOT)
        self.declared: list[int] = slots.tolist()
        """The slot records, by index."""
        depth: Integers = records["depth"][slots].astype(np.int64)
        buffers: list[Times] = [[0, 0] for _ in range(int(depth.sum()))]
        first = np.concatenate(([0], np.cumsum(depth)))
        self._rings: list[Ring] = [buffers[low:high] for low, high in pairwise(first.tolist())]
        self._undeclared: dict[int, Ring] = {}
        key = _key(records["slot"][slots], slots)
        self._order: Integers = np.argsort(key)
        self._keys: Integers = key[self._order]
        taker, taken = _takeovers(*_ranges(records, slots, depth, cores))
        bounds = np.searchsorted(taker, first).tolist()
        pairs = [
            (buffers[new], buffers[old]) for new, old in zip(taker.tolist(), taken.tolist(), strict=True)
        ]
        self.starts: list[Move | None] = [
            partial(_wait, pairs[low:high]) if low < high else None for low, high in pairwise(bounds)
        ]
        """By slot record, what makes its buffers wait; none where no other had the memory."""

    def used(self, registers: NDArray[np.uint16], records: Integers) -> list[Ring]:
        """The rings that registers [uses] stand for in records [uses], by index.

        A register that no slot record declares before has a buffer that nothing else has.
        """
        place = np.searchsorted(self._keys, _key(registers, records)) - 1
        declared = place >= 0
        declared[declared] = self._keys[place[declared]] >> _KEY_BITS == registers[declared]
        if declared.all():
            return [self._rings[one] for one in self._order[place].tolist()]
        rings = []
        for one, register, is_declared in zip(place, registers.tolist(), declared, strict=True):
            if is_declared:
                rings.append(self._rings[self._order[one]])
            else:
                rings.append(self._undeclared.setdefault(register, [[0, 0]]))
        return rings


def _key(registers: NDArray[np.uint16], records: Integers) -> Integers:
    """Numbers in the order of registers, then of records."""
    return (registers.astype(np.int64) << _KEY_BITS) + records


def _ranges(
    records: NDArray[Any], slots: Integers, depth: Integers, cores: int
) -> tuple[Integers, Integers, Integers]:
    """The memory of each buffer of ``slots``, ring after ring: space, first byte, first byte beyond."""
    slot = np.repeat(np.arange(len(slots)), depth)
    position = np.arange(len(slot)) - np.repeat(np.cumsum(depth) - depth, depth)
    space = records["space"][slots].astype(np.int64)
    first, size = (
        np.minimum(records[name][slots], MOST_BYTES).astype(np.int64)
        for name in ("address_bytes", "size_bytes")
    )
    striped = (space != Space.DRAM) & (records["per_core"][slots] == 0)
    size[striped] = -(-size[striped] // cores)
    low = first[slot] + position * size[slot]
    return space[slot], low, low + size[slot]


def _takeovers(space: Integers, low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """Pairs of buffers of which the first takes over memory of the second, in the order of the first.

    Memory is divided at all bounds; each part of it goes from buffer to buffer in the order of declaration.
    """
    buffers = len(low)
    bits = buffers.bit_length()
    bounds, part = np.unique(np.concatenate([space * SPACE + low, space * SPACE + high]), return_inverse=True)
    first, end = part[:buffers], part[buffers:]
    found = [np.zeros(0, np.int64)]
    at_once = max(1, MOST_PAIRS // max(1, buffers))
    for start in range(0, len(bounds), at_once):
        low_part, high_part = (np.clip(one, start, start + at_once) for one in (first, end))
        parts = high_part - low_part
        buffer = np.repeat(np.arange(buffers), parts)
        number = np.arange(len(buffer)) - np.repeat(np.cumsum(parts) - parts - low_part, parts)
        held = np.sort((number << bits) + buffer)
        passed = np.flatnonzero(held[1:] >> bits == held[:-1] >> bits)
        buffer = held & ((1 << bits) - 1)
        found.append((buffer[passed + 1] << bits) + buffer[passed])
    pairs = np.sort(np.concatenate(found))
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    return pairs >> bits, pairs & ((1 << bits) - 1)


def _wait(pairs: list[tuple[Times, Times]]) -> None:
    """Make new buffers (first) wait for the times of those whose memory they take over (second)."""
    for times, before in pairs:
        if before[0] > times[0]:
            times[0] = before[0]
        if before[1] > times[1]:
            times[1] = before[1]


def move_to_next(ring: Ring) -> Move | None:
    """What makes the next buffer of a ring the present one; none for a ring of one."""
    if len(ring) <= 2:
        return ring.reverse if len(ring) == 2 else None
    return partial(_rotate, ring)


def _rotate(ring: Ring) -> None:
    ring.append(ring.pop(0))
