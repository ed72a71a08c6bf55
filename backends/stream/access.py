"""Reading and writing the elements of an operand, for a block of cores at a time.

An access is checked against the slot's size and, byte by byte, against what has been written, and is then
one strided NumPy view. Arrays of elements are [core axes..., dimensions...]; a core axis along which all
cores hold the same, and any axis or dimension that the operand does not depend on, has extent 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES, pack, unpack
from flexc.backends.stream.isa import CORE_AXES, FORMAT_BITS, NO_SLOT, Addressing, Format
from flexc.backends.stream.memory import WHOLE_BYTE, Buffer, Bytes, Memories, Slot

SIZE_OF_BYTE = 8


@dataclass(frozen=True)
class Layout:
    """Where the elements of one core run lie, in bytes from the access's base: a typed or a packed view.

    ``shape`` is that of the elements. ``packed`` are the dimensions (counting core axes, outermost first)
    whose elements together are packed in runs, none for formats of whole bytes; ``strides`` are in bytes,
    0 at the packed ones.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    packed: tuple[int, ...] = ()

    @property
    def run_length(self) -> int:
        """The elements of a packed run."""
        return prod(self.shape[d] for d in self.packed)

    @cached_property
    def others(self) -> tuple[int, ...]:
        """The dimensions that are not packed."""
        return tuple(d for d in range(len(self.shape)) if d not in self.packed)

    def from_runs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Elements [others..., run] as an array of ``shape``."""
        split = values.reshape(*values.shape[:-1], *(self.shape[d] for d in self.packed))
        return split.transpose([(*self.others, *self.packed).index(d) for d in range(len(self.shape))])

    def to_runs(self, values: NDArray[Any]) -> NDArray[Any]:
        """An array that broadcasts to ``shape`` as elements [others..., run]."""
        last = np.broadcast_to(values, self.shape).transpose((*self.others, *self.packed))
        return last.reshape(*last.shape[: len(self.others)], self.run_length)

    def byte_view(self, array: Bytes, base: int, bits: int) -> Bytes:
        """uint8 [others..., bytes of an element or of a packed run] for elements of ``bits``."""
        if not self.packed:
            shape, strides = (*self.shape, bits // 8), (*self.strides, 1)
        else:
            shape = (*(self.shape[d] for d in self.others), -(-self.run_length * bits // 8))
            strides = (*(self.strides[d] for d in self.others), 1)
        return np.ndarray(shape, np.uint8, array, base + self.offset, strides)


class Operand:
    """One operand of a record: where its elements are as a function of counters, cores and positions."""

    def __init__(self, record: Any, index: int, name: str, box: Box) -> None:
        self.name = name
        fields = record["operand"][index]
        self.register = int(fields["slot"])
        self.present = self.register != NO_SLOT
        self.format = Format(int(fields["format"]))
        self.addressing = Addressing(int(fields["addressing"]))
        self.offset = int(fields["offset"])
        self.bits = FORMAT_BITS[self.format]
        self.box = box
        stride: tuple[int, ...] = tuple(fields["stride"][: box.dims].tolist())
        self.stride = stride
        local = self.addressing is Addressing.LOCAL
        moves = self.addressing is Addressing.GLOBAL
        steps = box.step if moves else (1,) * box.dims
        self.position_stride = tuple(s * t for s, t in zip(stride, steps, strict=True))
        apart = tuple(
            more if moves else tuple(one // step for one in more)
            for more, step in zip(box.core, box.step, strict=True)
        )
        self.core_stride = tuple(
            0 if local else sum(s * more[axis] for s, more in zip(stride, apart, strict=True))
            for axis in range(CORE_AXES)
        )
        self._start = self.offset + (
            sum(s * start for s, start in zip(stride, box.start, strict=True)) if moves else 0
        )
        self._level_stride = tuple(
            sum(s * more[level] for s, more in zip(stride, box.loop, strict=True)) if moves else 0
            for level in range(box.depth)
        )
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
        for level, more in enumerate(self._level_stride):
            address += more * counters[level]
        return address

    def slot(self, memories: Memories) -> Slot:
        """The operand's slot. Raises StreamFault when it is not there."""
        try:
            slot = memories.slot(self.register)
        except StreamFault as fault:
            raise fault.at_operand(self.name) from None
        if slot.addressing is not self.addressing:
            mine, its = self.addressing.name.lower(), slot.addressing.name.lower()
            raise StreamFault(f"{mine} addresses in a slot of {its} ones", operand=self.name)
        return slot

    def reach(self, run: CoreRun) -> tuple[int, int]:
        """The lowest address and the one past the highest, in bits from the base."""
        found = self._reaches.get(run)
        if found is None:
            low = high = sum(s * p for s, p in zip(self.position_stride, run.low, strict=True))
            low += sum(s * c for s, c in zip(self.core_stride, run.first, strict=True))
            high = low
            for stride, extent in (
                *zip(self.core_stride, run.cores, strict=True),
                *zip(self.position_stride, run.count, strict=True),
            ):
                low += min(0, stride * (extent - 1))
                high += max(0, stride * (extent - 1))
            found = self._reaches[run] = (low, high + self.bits)
        return found

    def check_reach(self, buffer: Buffer, run: CoreRun, base: int) -> None:
        """Raises StreamFault when an element lies outside the slot."""
        low, high = self.reach(run)
        if base + low < 0 or base + high > buffer.size * SIZE_OF_BYTE:
            outside = base + low if base + low < 0 else base + high - self.bits
            raise StreamFault(
                f"an element outside the slot's {buffer.size} bytes", operand=self.name, address_bits=outside
            )

    def layout(self, run: CoreRun, content: Bytes, base: int) -> Layout:
        """The layout of a run in a buffer's array; [*copies, size] or [size] says how cores are kept."""
        key = (run, content.shape[:-1])
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts[key] = self._make_layout(run, content)
        if (base + 8 * found.offset) % 8:
            raise StreamFault(f"{self.format.name} not on a byte", operand=self.name, address_bits=base)
        return found

    def _make_layout(self, run: CoreRun, content: Bytes) -> Layout:
        relative = sum(s * p for s, p in zip(self.position_stride, run.low, strict=True))
        shape = list(run.cores)
        if content.ndim > 1:
            copies = content.shape[:-1]
            core_strides = [8 * s if n > 1 else 0 for s, n in zip(content.strides[:-1], copies, strict=True)]
        else:
            core_strides = list(self.core_stride)
        relative += sum(s * c for s, c in zip(core_strides, run.first, strict=True))
        strides = [*core_strides, *self.position_stride]
        shape += run.count
        shape = [n if stride else 1 for n, stride in zip(shape, strides, strict=True)]
        packed = () if self.format in WHOLE_BYTE_TYPES else packed_dimensions(shape, strides, self.bits)
        for d in packed:
            strides[d] = 0
        for d, (stride, extent) in enumerate(zip(strides, shape, strict=True)):
            if stride % 8:
                if extent > 1:
                    raise StreamFault(f"stride of {stride} bits for {self.format.name}", operand=self.name)
                strides[d] = 0
        if relative % 8:
            raise StreamFault(f"a run of {self.format.name} does not start on a byte", operand=self.name)
        return Layout(relative // 8, tuple(shape), tuple(s // 8 for s in strides), packed)


def packed_dimensions(shape: Sequence[int], strides: Sequence[int], bits: int) -> tuple[int, ...]:
    """The dimensions whose elements lie one after the other, outermost first; the last without any.

    They end where a run of them is whole bytes.
    """
    single = [d for d, stride in enumerate(strides) if stride == bits]
    if not single:
        return (len(shape) - 1,)
    run = [max(single, key=lambda d: (shape[d], d))]
    length = shape[run[0]]
    while True:
        dense = [d for d, n in enumerate(shape) if n > 1 and d not in run and strides[d] == bits * length]
        if not dense or bits * length % 8 == 0:
            return tuple(run)
        run.insert(0, dense[0])
        length *= shape[dense[0]]


def cores_apart(operand: Operand, memories: Memories, run: CoreRun) -> tuple[int, ...]:
    """Along each core axis, how many cores of a run hold something of their own in the operand's slot."""
    content, _ = operand.slot(memories).current.for_read(operand.box.grid)
    return tuple(n if copies > 1 else 1 for n, copies in zip(run.cores, content.shape[:-1], strict=True))


def read(operand: Operand, memories: Memories, run: CoreRun, counters: Counters) -> NDArray[Any]:
    """The elements of a run: a view where the format allows, int8 mantissas for m4, fp32 for fp10.

    Raises StreamFault for elements outside the slot, or that nothing wrote.
    """
    buffer = operand.slot(memories).current
    base = operand.base_bits(counters)
    content, layout = _checked(operand, buffer, run, base)
    if not layout.packed:
        dtype = WHOLE_BYTE_TYPES[operand.format]
        return np.ndarray(layout.shape, dtype, content, base // 8 + layout.offset, layout.strides)
    runs = layout.byte_view(content, base // 8, operand.bits)
    return layout.from_runs(unpack(runs, layout.run_length, operand.format))


def _checked(operand: Operand, buffer: Buffer, run: CoreRun, base: int) -> tuple[Bytes, Layout]:
    """A buffer's bytes and the layout of a run in them, every element of which has been written."""
    operand.check_reach(buffer, run, base)
    try:
        content, valid = buffer.for_read(operand.box.grid)
    except StreamFault as fault:
        raise fault.at_operand(operand.name) from None
    layout = operand.layout(run, content, base)
    if not all_valid(layout, layout.byte_view(valid, base // 8, operand.bits), operand.bits):
        raise StreamFault(
            "reads what nothing has written",
            operand=operand.name,
            address_bits=base + _first_invalid(layout, valid, base // 8, operand.bits),
        )
    return content, layout


def all_valid(layout: Layout, valid: Bytes, bits: int) -> bool:
    """Whether every element of a view of validity (``Layout.byte_view``) has been written."""
    if not layout.packed:
        return bool(valid.min() == WHOLE_BYTE)
    full, mask = _tail(layout.run_length * bits)
    if full and valid[..., :full].min() != WHOLE_BYTE:
        return False
    return not mask or bool((valid[..., full] & mask == mask).all())


def _tail(run_bits: int) -> tuple[int, int]:
    """Whole bytes of a packed run, and the validity of the pairs of bits after them."""
    full, rest = divmod(run_bits, 8)
    return full, (1 << (rest // 2)) - 1


def _first_invalid(layout: Layout, valid: Bytes, base: int, bits: int) -> int:
    """The byte, as bits from the base, of the first element that is not valid (of core copy 0's start)."""
    view = layout.byte_view(valid, base, bits)
    wanted = np.full(view.shape[-1], WHOLE_BYTE, np.uint8)
    if layout.packed:
        full, mask = _tail(layout.run_length * bits)
        if mask:
            wanted[full] = mask
    index = np.argwhere((view & wanted) != wanted)[0]
    position = sum(int(i) * s for i, s in zip(index[CORE_AXES:], view.strides[CORE_AXES:], strict=True))
    return 8 * (layout.offset + position)


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
    buffer = operand.slot(memories).current
    base = operand.base_bits(counters)
    operand.check_reach(buffer, run, base)
    content, valid = buffer.for_write(operand.box.grid, distinct)
    layout = operand.layout(run, content, base)
    start = base // 8
    if any(many > 1 and one == 1 for many, one in zip(values.shape, layout.shape, strict=True)):
        raise StreamFault("writes several elements to one address", operand=operand.name, address_bits=base)
    if not layout.packed:
        dtype = WHOLE_BYTE_TYPES[operand.format]
        np.ndarray(layout.shape, dtype, content, start + layout.offset, layout.strides)[...] = values
        layout.byte_view(valid, start, operand.bits)[...] = WHOLE_BYTE
        return
    runs = pack(layout.to_runs(values), operand.format)
    write_packed(layout, content, valid, start, runs, operand.bits)


def write_packed(layout: Layout, content: Bytes, valid: Bytes, base: int, run: Bytes, bits: int) -> None:
    """Write packed runs, leaving the bits after their last element as they are."""
    to_content = layout.byte_view(content, base, bits)
    to_valid = layout.byte_view(valid, base, bits)
    run_bits = layout.run_length * bits
    full, mask = _tail(run_bits)
    to_content[..., :full] = run[..., :full]
    to_valid[..., :full] = WHOLE_BYTE
    if mask:
        kept = np.uint8(0xFF << run_bits % 8 & 0xFF)
        to_content[..., full] = (to_content[..., full] & kept) | (run[..., full] & ~kept)
        to_valid[..., full] |= np.uint8(mask)


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
    buffer = src.slot(memories).current
    base = src.base_bits(counters)
    if dst.format is not src.format or src.format in WHOLE_BYTE_TYPES:
        write(dst, memories, run, counters, read(src, memories, run, counters), distinct)
        return
    content, layout = _checked(src, buffer, run, base)
    target = dst.slot(memories).current
    target_base = dst.base_bits(counters)
    dst.check_reach(target, run, target_base)
    target_content, target_valid = target.for_write(dst.box.grid, distinct)
    target_layout = dst.layout(run, target_content, target_base)
    if target_layout.packed != layout.packed:
        write(dst, memories, run, counters, read(src, memories, run, counters), distinct)
        return
    packed = layout.byte_view(content, base // 8, src.bits)
    write_packed(target_layout, target_content, target_valid, target_base // 8, packed, dst.bits)
