"""Where the elements of one access lie in a buffer, and whether they are valid there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import CORE_AXES
from flexc.backends.stream.validity import WHOLE_BYTE, Bytes


@dataclass(frozen=True)
class Layout:
    """Where the elements of one core run lie, in bytes from the access's base: a typed or a packed view.

    ``shape`` is that of the elements. ``packed`` are the dimensions (counting core axes, outermost first)
    whose elements together are packed in runs, none for formats of whole bytes; ``strides`` are in bytes,
    0 at the packed ones. ``dense`` tells whether the elements are all that lies between the first and the
    last of them, in every copy of a buffer.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    packed: tuple[int, ...] = ()
    dense: bool = False

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


def packed_dimensions(shape: Sequence[int], strides: Sequence[int], bits: int) -> tuple[int, ...]:
    """The dimensions whose elements lie one after the other, outermost first.

    They end where a run of them is whole bytes. Where all elements lie apart it is a dimension of one
    element, none if there is none.
    """
    single = [d for d, stride in enumerate(strides) if stride == bits]
    if not single:
        return tuple(d for d, n in enumerate(shape) if n == 1)[-1:]
    run = [max(single, key=lambda d: (shape[d], d))]
    length = shape[run[0]]
    while True:
        dense = [d for d, n in enumerate(shape) if n > 1 and d not in run and strides[d] == bits * length]
        if not dense or bits * length % 8 == 0:
            return tuple(run)
        run.insert(0, dense[0])
        length *= shape[dense[0]]


def is_dense(
    shape: Sequence[int], strides: Sequence[int], packed: tuple[int, ...], bits: int, first_axis: int
) -> bool:
    """Whether elements of ``bits`` fill whole bytes without a gap, seen from ``first_axis`` on."""
    length = bits
    for d in packed:
        if d < first_axis:
            return False
        length *= shape[d]
    others = [(strides[d], shape[d]) for d in range(first_axis, len(shape)) if shape[d] > 1]
    for stride, extent in sorted(others):
        if stride == 0:
            continue
        if stride != length:
            return False
        length *= extent
    return length % 8 == 0


def all_valid(layout: Layout, valid: Bytes, bits: int) -> bool:
    """Whether every element of a view of validity (``Layout.byte_view``) has been written."""
    if not layout.packed:
        return bool(valid.min() == WHOLE_BYTE)
    full, mask = whole_bytes_and_tail(layout.run_length * bits)
    if full and valid[..., :full].min() != WHOLE_BYTE:
        return False
    return not mask or bool((valid[..., full] & mask == mask).all())


def whole_bytes_and_tail(run_bits: int) -> tuple[int, int]:
    """Whole bytes of a packed run, and the validity of the pairs of bits after them."""
    full, rest = divmod(run_bits, 8)
    return full, (1 << (rest // 2)) - 1


def first_invalid(layout: Layout, valid: Bytes, base: int, bits: int) -> int:
    """The byte, as bits from the base, of the first element that is not valid (of core copy 0's start)."""
    view = layout.byte_view(valid, base, bits)
    wanted = np.full(view.shape[-1], WHOLE_BYTE, np.uint8)
    if layout.packed:
        full, mask = whole_bytes_and_tail(layout.run_length * bits)
        if mask:
            wanted[full] = mask
    index = np.argwhere((view & wanted) != wanted)[0]
    position = sum(int(i) * s for i, s in zip(index[CORE_AXES:], view.strides[CORE_AXES:], strict=True))
    return 8 * (layout.offset + position)


def mark_valid(layout: Layout, valid: Bytes, bits: int) -> None:
    """Make every element of a view of validity (``Layout.byte_view``) valid."""
    if not layout.packed:
        valid[...] = WHOLE_BYTE
        return
    full, mask = whole_bytes_and_tail(layout.run_length * bits)
    valid[..., :full] = WHOLE_BYTE
    if mask:
        valid[..., full] |= np.uint8(mask)
