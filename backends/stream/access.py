"""Reading and writing the elements of an operand, for a block of cores at a time.

An access is checked against the slot's size and against what has been written, and is then one strided NumPy
view. Arrays of elements are [core axes..., dimensions...]; a core axis along which all
cores hold the same, and any axis or dimension that the operand does not depend on, has extent 1.
"""

from __future__ import annotations

from copy import copy
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.decode import ADDRESSINGS, FORMATS, DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES, pack, unpack
from flexc.backends.stream.isa import CORE_AXES, FORMAT_BITS, NO_SLOT, Addressing
from flexc.backends.stream.layout import (
    Layout,
    all_valid,
    first_invalid,
    is_dense,
    mark_valid,
    packed_dimensions,
    whole_bytes_and_tail,
)
from flexc.backends.stream.memory import Buffer, Memories, Slot
from flexc.backends.stream.validity import Bytes

SIZE_OF_BYTE = 8


class Operand:
    """One operand of a record: where its elements are as a function of counters, cores and positions."""

    def __init__(self, record: DecodedRecord, index: int, name: str, box: Box) -> None:
        self.name = name
        fields = record["operand"]
        self.register: int = fields["slot"][index]
        self.present = self.register != NO_SLOT
        self.format = FORMATS[fields["format"][index]]
        self.addressing = ADDRESSINGS[fields["addressing"][index]]
        self.slot_addressing = self.addressing
        """That of the slots that the operand may lie in."""
        self.offset: int = fields["offset"][index]
        self.bits = FORMAT_BITS[self.format]
        self.box = box
        stride: tuple[int, ...] = tuple(fields["stride"][index][: box.dims])
        self.stride = stride
        moves = self.addressing is Addressing.GLOBAL
        self.position_stride = stride
        self.core_stride: tuple[int, ...] = (0,) * CORE_AXES
        self._start: int = self.offset
        self._level_strides: tuple[tuple[int, int], ...] = ()
        if moves:
            self.position_stride = tuple(map(mul, stride, box.step))
            self.core_stride = tuple([sum(map(mul, stride, more)) for more in zip(*box.core, strict=True)])
            self._start += sum(map(mul, stride, box.start))
            by_level = [sum(map(mul, stride, more)) for more in zip(*box.loop, strict=True)]
            self._level_strides = tuple([(level, more) for level, more in enumerate(by_level) if more])
        elif self.addressing is Addressing.CHIP:
            apart = [[one // step for one in more] for more, step in zip(box.core, box.step, strict=True)]
            self.core_stride = tuple([sum(map(mul, stride, more)) for more in zip(*apart, strict=True)])
        self._layouts: dict[tuple[CoreRun, tuple[int, ...]], Layout] = {}
        self._reaches: dict[CoreRun, tuple[int, int]] = {}

    def restrided(self, position_stride: tuple[int, ...]) -> Operand:
        """The operand with other strides from position to position, in the slot of each core."""
        other = copy(self)
        other.position_stride = position_stride
        other._layouts = {}
        other._reaches = {}
        return other

    def base_bits(self, counters: Counters) -> int:
        """The address of position 0 of core 0."""
        address = self._start
        for level, more in self._level_strides:
            address += more * counters[level]
        return address

    def slot(self, memories: Memories) -> Slot:
        """The operand's slot. Raises StreamFault when it is not there."""
        slot = memories.slots.get(self.register)
        if slot is None or slot.addressing is not self.slot_addressing:
            raise self._slot_fault(memories)
        return slot

    def _slot_fault(self, memories: Memories) -> StreamFault:
        try:
            slot = memories.slot(self.register)
        except StreamFault as fault:
            return fault.at_operand(self.name)
        mine, its = self.slot_addressing.name.lower(), slot.addressing.name.lower()
        return StreamFault(f"{mine} addresses in a slot of {its} ones", operand=self.name)

    def reach(self, run: CoreRun) -> tuple[int, int]:
        """The lowest address and the one past the highest, in bits from the base."""
        found = self._reaches.get(run)
        if found is None:
            low = _weighted(self.position_stride, run.low) + _weighted(self.core_stride, run.first)
            high = low
            for stride, extent in zip(
                self.core_stride + self.position_stride, run.cores + run.count, strict=True
            ):
                if stride > 0:
                    high += stride * (extent - 1)
                else:
                    low += stride * (extent - 1)
            found = self._reaches[run] = (low, high + self.bits)
        return found

    def checked_reach(self, buffer: Buffer, run: CoreRun, base: int) -> tuple[int, int]:
        """The bytes [first, end) of a buffer between which the elements of a run lie.

        Raises StreamFault when one lies outside the slot.
        """
        low, high = self.reach(run)
        low, high = base + low, base + high
        if low < 0 or high > buffer.size * SIZE_OF_BYTE:
            outside = low if low < 0 else high - self.bits
            raise StreamFault(
                f"an element outside the slot's {buffer.size} bytes", operand=self.name, address_bits=outside
            )
        return low >> 3, (high + 7) >> 3

    def layout(self, run: CoreRun, content: Bytes, base: int) -> Layout:
        """The layout of a run in a buffer's array; [*copies, size] or [size] says how cores are kept."""
        key = (run, content.shape[:-1])
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts[key] = self._make_layout(run, content)
        if base % 8:
            raise StreamFault(f"{self.format.name} not on a byte", operand=self.name, address_bits=base)
        return found

    def _make_layout(self, run: CoreRun, content: Bytes) -> Layout:
        core_stride, first_axis = self.core_stride, 0
        if content.ndim > 1:
            first_axis = CORE_AXES
            core_stride = tuple(
                [8 * s if n > 1 else 0 for s, n in zip(content.strides, content.shape[:-1], strict=False)]
            )
        relative = _weighted(self.position_stride, run.low) + _weighted(core_stride, run.first)
        strides = [*core_stride, *self.position_stride]
        shape = [n if stride else 1 for n, stride in zip(run.cores + run.count, strides, strict=True)]
        packed: tuple[int, ...] = ()
        if self.format not in WHOLE_BYTE_TYPES:
            packed = packed_dimensions(shape, strides, self.bits)
            if not packed:
                raise StreamFault(f"no two {self.format.name} elements are neighbours", operand=self.name)
            for d in packed:
                strides[d] = 0
        for d, stride in enumerate(strides):
            if stride % 8:
                if shape[d] > 1:
                    raise StreamFault(f"stride of {stride} bits for {self.format.name}", operand=self.name)
                strides[d] = 0
        if relative % 8:
            raise StreamFault(f"a run of {self.format.name} does not start on a byte", operand=self.name)
        dense = is_dense(shape, strides, packed, self.bits, first_axis)
        if first_axis:
            dense = dense and tuple(shape[:CORE_AXES]) == content.shape[:-1]
        return Layout(relative // 8, tuple(shape), tuple([s // 8 for s in strides]), packed, dense)


def _weighted(strides: tuple[int, ...], places: tuple[int, ...]) -> int:
    """The sum of strides times places."""
    return sum(map(mul, strides, places)) if any(places) else 0


def cores_apart(operand: Operand, memories: Memories, run: CoreRun) -> tuple[int, ...]:
    """Along each core axis, how many cores of a run hold something of their own in the operand's slot."""
    content = operand.slot(memories).current.for_read(operand.box.grid)
    return tuple([n if copies > 1 else 1 for n, copies in zip(run.cores, content.shape[:-1], strict=True)])


def read(operand: Operand, memories: Memories, run: CoreRun, counters: Counters) -> NDArray[Any]:
    """The elements of a run: a view where the format allows, int8 mantissas for m4, fp32 for fp10.

    Raises StreamFault for elements outside the slot, or that nothing wrote.
    """
    content, layout, start = checked(operand, memories, run, counters)
    if not layout.packed:
        dtype = WHOLE_BYTE_TYPES[operand.format]
        return np.ndarray(layout.shape, dtype, content, start + layout.offset, layout.strides)
    runs = layout.byte_view(content, start, operand.bits)
    return layout.from_runs(unpack(runs, layout.run_length, operand.format))


def checked(
    operand: Operand, memories: Memories, run: CoreRun, counters: Counters
) -> tuple[Bytes, Layout, int]:
    """A buffer's bytes, the layout of a run in them, and its base in bytes.

    Raises StreamFault for elements outside the slot, or that nothing wrote.
    """
    buffer = operand.slot(memories).current
    base = operand.base_bits(counters)
    first, end = operand.checked_reach(buffer, run, base)
    grid = operand.box.grid
    try:
        content = buffer.for_read(grid)
    except StreamFault as fault:
        raise fault.at_operand(operand.name) from None
    layout = operand.layout(run, content, base)
    start = base >> 3
    if not buffer.valid.holds(first, end):
        valid = buffer.validity(grid)
        if not all_valid(layout, layout.byte_view(valid, start, operand.bits), operand.bits):
            raise StreamFault(
                "reads what nothing has written",
                operand=operand.name,
                address_bits=base + first_invalid(layout, valid, start, operand.bits),
            )
    return content, layout, start


def write(
    operand: Operand,
    memories: Memories,
    run: CoreRun,
    counters: Counters,
    values: NDArray[Any],
    distinct: tuple[bool, ...],
) -> None:
    """Write ``values`` [core axes..., dimensions...] (broadcast) to a run, valid from now on.

    ``distinct`` tells along which core axes values differ. Raises StreamFault for elements outside the slot,
    or that the format does not hold.
    """
    content, layout, start = _target(operand, memories, run, counters, distinct)
    if values.shape != layout.shape and any(
        many > 1 and one == 1 for many, one in zip(values.shape, layout.shape, strict=True)
    ):
        raise StreamFault(
            "writes several elements to one address",
            operand=operand.name,
            address_bits=operand.base_bits(counters),
        )
    if not layout.packed:
        dtype = WHOLE_BYTE_TYPES[operand.format]
        np.ndarray(layout.shape, dtype, content, start + layout.offset, layout.strides)[...] = values
        return
    _write_packed(layout, content, start, pack(layout.to_runs(values), operand.format), operand.bits)


def _target(
    operand: Operand, memories: Memories, run: CoreRun, counters: Counters, distinct: tuple[bool, ...]
) -> tuple[Bytes, Layout, int]:
    """A buffer's bytes, the layout in them of a run that is about to be written, now valid, and its base.

    Raises StreamFault for elements outside the slot.
    """
    buffer = operand.slot(memories).current
    base = operand.base_bits(counters)
    first, end = operand.checked_reach(buffer, run, base)
    content = buffer.for_write(operand.box.grid, distinct)
    layout = operand.layout(run, content, base)
    start = base >> 3
    if layout.dense and not buffer.flat:
        buffer.valid.add(first, end)
    elif not buffer.valid.covers(first, end):
        mark_valid(
            layout, layout.byte_view(buffer.validity(operand.box.grid), start, operand.bits), operand.bits
        )
    return content, layout, start


def _write_packed(layout: Layout, content: Bytes, base: int, run: Bytes, bits: int) -> None:
    """Write packed runs, leaving the bits after their last element as they are."""
    to_content = layout.byte_view(content, base, bits)
    run_bits = layout.run_length * bits
    full, mask = whole_bytes_and_tail(run_bits)
    to_content[..., :full] = run[..., :full]
    if mask:
        kept = np.uint8(0xFF << run_bits % 8 & 0xFF)
        to_content[..., full] = (to_content[..., full] & kept) | (run[..., full] & ~kept)


def copy_runs(
    dst: Operand,
    src: Operand,
    memories: Memories,
    run: CoreRun,
    counters: Counters,
    distinct: tuple[bool, ...],
) -> None:
    """Copy the elements of a run between operands of one format, or of fp10 and fp32.

    Raises StreamFault as :func:`read` and :func:`write`.
    """
    if dst.format is src.format and src.format not in WHOLE_BYTE_TYPES:
        content, layout, start = checked(src, memories, run, counters)
        target_content, target, target_start = _target(dst, memories, run, counters, distinct)
        if target.packed == layout.packed:
            packed = layout.byte_view(content, start, src.bits)
            _write_packed(target, target_content, target_start, packed, dst.bits)
            return
    write(dst, memories, run, counters, read(src, memories, run, counters), distinct)
