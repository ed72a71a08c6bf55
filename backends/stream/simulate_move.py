"""load, gather and store: boxes between DRAM and the chip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import Operand, copy_runs, read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.decode import OPCODE_OF_CODE, DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES
from flexc.backends.stream.isa import CORE_AXES, OPCODES, Format
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.validity import WHOLE_BYTE


def operands_of(record: DecodedRecord, box: Box) -> tuple[Operand, ...]:
    """The named operands of a record, in order."""
    names = OPCODES[OPCODE_OF_CODE[record["opcode"]]].operands
    return tuple(Operand(record, index, name, box) for index, name in enumerate(names))


def moving_axes(box: Box) -> tuple[bool, ...]:
    """For each core axis, whether the cores along it have different coordinates."""
    return tuple(box.grid[axis] > 1 and any(more[axis] for more in box.core) for axis in range(CORE_AXES))


class Load:
    """A box from DRAM to the chip, elements outside filled."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.dst, self.src = operands_of(record, self.box)[:2]
        self.fill = np.asarray(record["immediate"][0], np.float32)
        self.distinct = moving_axes(self.box)

    def execute(self, memories: Memories, counters: Counters) -> None:
        inside = self.box.inside(counters)
        if not inside.whole:
            self._fill_everything(memories, counters)
        for run in inside.runs:
            copy_runs(self.dst, self.src, memories, run, counters, self.distinct)

    def _fill_everything(self, memories: Memories, counters: Counters) -> None:
        fmt = self.dst.format
        dtype = np.dtype(np.float32) if fmt is Format.FP10 else WHOLE_BYTE_TYPES.get(fmt, np.dtype(np.int8))
        fill = self.fill.astype(dtype).reshape((1,) * (CORE_AXES + self.box.dims))
        (everything,) = self.box.whole.runs
        write(self.dst, memories, everything, counters, fill, self.distinct)


class Gather(Load):
    """A load in which the coordinates of one dimension of the source are read from indices."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.indices = operands_of(record, self.box)[2]
        self.axis = int(record["axis"])
        self.extent = int(record["immediate_int"])

    def execute(self, memories: Memories, counters: Counters) -> None:
        inside = self.box.inside(counters)
        if not inside.whole:
            self._fill_everything(memories, counters)
        for run in inside.runs:
            values = self._gathered(memories, run, counters)
            write(self.dst, memories, run, counters, values, self.distinct)

    def _gathered(self, memories: Memories, run: CoreRun, counters: Counters) -> NDArray[Any]:
        indices = read(self.indices, memories, run, counters).astype(np.int64)
        indices = np.where(indices < 0, indices + self.extent, indices)
        if indices.min() < 0 or indices.max() >= self.extent:
            wrong = indices[(indices < 0) | (indices >= self.extent)][0]
            raise StreamFault(f"index {wrong} of {self.extent}", operand=self.indices.name)
        src, box = self.src, self.box
        start = src.base_bits(counters) - src.stride[self.axis] * box.base(self.axis, counters)
        address = start + src.stride[self.axis] * indices
        for axis in range(CORE_AXES):
            along = src.core_stride[axis] - src.stride[self.axis] * box.core[self.axis][axis]
            cores = np.arange(run.first[axis], run.first[axis] + run.cores[axis])
            address = address + (along * cores).reshape([-1 if d == axis else 1 for d in range(address.ndim)])
        for d in range(box.dims):
            if d != self.axis:
                places = np.arange(run.low[d], run.low[d] + run.count[d]) * src.position_stride[d]
                address = address + places.reshape(
                    [-1 if k == CORE_AXES + d else 1 for k in range(address.ndim)]
                )
        return self._elements(memories, address)

    def _elements(self, memories: Memories, address: NDArray[np.int64]) -> NDArray[Any]:
        buffer = self.src.slot(memories).current
        low, high = int(address.min()), int(address.max())
        if low < 0 or high + self.src.bits > 8 * buffer.size:
            raise StreamFault(
                f"an element outside the slot's {buffer.size} bytes",
                operand=self.src.name,
                address_bits=low if low < 0 else high,
            )
        element_bytes = self.src.bits // 8
        places = (address // 8)[..., np.newaxis] + np.arange(element_bytes)
        if not (buffer.valid.of_bytes()[places] == WHOLE_BYTE).all():
            raise StreamFault("reads what nothing has written", operand=self.src.name, address_bits=low)
        dtype = WHOLE_BYTE_TYPES[self.src.format]
        elements: NDArray[Any] = np.ascontiguousarray(buffer.content[places]).view(dtype)[..., 0]
        return elements


class Store:
    """The inside of a box from the chip to DRAM."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.dst, self.src = operands_of(record, self.box)
        self.distinct = moving_axes(self.box)

    def execute(self, memories: Memories, counters: Counters) -> None:
        for run in self.box.inside(counters).runs:
            copy_runs(self.dst, self.src, memories, run, counters, self.distinct)
