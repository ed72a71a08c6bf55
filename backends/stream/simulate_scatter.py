"""scatter: elements added at indices, one after the other."""

from __future__ import annotations

import numpy as np

from flexc.backends.stream.access import read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import CORE_AXES
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.simulate_move import operands_of


class Scatter:
    """One scatter record, on the chip's tile."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.dst, self.src, self.indices = operands_of(record, self.box)
        self.axis = int(record["axis"])
        self.extent = int(record["immediate_int"])
        # Dimensions that dst does not move along are counted by the indices.
        self.indexed = tuple(d for d in range(self.box.dims) if d == self.axis or self.indices.stride[d] != 0)

    def execute(self, memories: Memories, counters: Counters) -> None:
        for run in self.box.inside(counters).runs:
            self._add(memories, run, counters)

    def _add(self, memories: Memories, run: CoreRun, counters: Counters) -> None:
        indices = read(self.indices, memories, run, counters).astype(np.int64)
        indices = np.where(indices < 0, indices + self.extent, indices)
        if indices.min() < 0 or indices.max() >= self.extent:
            wrong = indices[(indices < 0) | (indices >= self.extent)][0]
            raise StreamFault(f"index {wrong} of {self.extent}", operand=self.indices.name)
        others = tuple(d for d in range(self.box.dims) if d not in self.indexed)
        dims = tuple(CORE_AXES + d for d in (*self.indexed, *others))
        src = read(self.src, memories, run, counters)
        src = np.broadcast_to(src, (*src.shape[:CORE_AXES], *run.count)).transpose((*dims, *range(CORE_AXES)))
        where = indices.transpose((*dims, *range(CORE_AXES)))
        where = np.broadcast_to(where, (*src.shape[: len(self.indexed)], *where.shape[len(self.indexed) :]))
        rest = src.shape[len(self.indexed) :]

        low = tuple(0 if d in self.indexed else n for d, n in enumerate(run.low))
        count = tuple(
            self.extent if d == self.axis else 1 if d in self.indexed else n for d, n in enumerate(run.count)
        )
        whole = CoreRun(run.first, run.cores, low, count)
        total = read(self.dst, memories, whole, counters)
        along = CORE_AXES + self.axis
        moved = np.array(np.moveaxis(total, along, 0))
        flat = moved.reshape(self.extent, -1)
        with np.errstate(all="ignore"):
            np.add.at(flat, where.reshape(-1), src.reshape(-1, int(np.prod(rest, dtype=np.int64))))
        result = np.moveaxis(flat.reshape(moved.shape), 0, along)
        write(self.dst, memories, whole, counters, result, (False,) * CORE_AXES)
