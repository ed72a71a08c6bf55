"""Whether the executor and the stream computed the same bits, and where they first did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """The first element, in row-major order, in which a tensor differs; bits are in hexadecimal."""

    tensor: str
    index: tuple[int, ...]
    executor_value: float
    stream_value: float
    executor_bits: str
    stream_bits: str

    def __str__(self) -> str:
        return (
            f"'{self.tensor}' at {list(self.index)}: "
            f"executor {self.executor_value!r} (0x{self.executor_bits}), "
            f"stream {self.stream_value!r} (0x{self.stream_bits})"
        )


class DisagreementError(Exception):
    """The executor and the stream computed different bits: a bug of the compiler or of its simulator."""

    def __init__(self, difference: Difference) -> None:
        self.difference = difference
        super().__init__(f"executor and stream differ: {difference}")


@dataclass(frozen=True)
class Agreement:
    """What was compared how, in the program's order, up to the first difference.

    ``compared`` tensors had to be equal in every byte, ``bounded`` ones to lie within what the free order of
    fp32 sums allows; ``uncompared`` ones were held by both, but nothing sound could be said of them.
    """

    compared: tuple[str, ...]
    difference: Difference | None
    bounded: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every byte of every tensor was compared."""
        return not self.bounded and not self.uncompared

    @property
    def total(self) -> int:
        """How many tensors were compared, in either way."""
        return len(self.compared) + len(self.bounded)

    def then(self, later: Agreement) -> Agreement:
        """Both comparisons as one; what follows a difference does not count."""
        if self.difference is not None:
            return self
        return Agreement(
            self.compared + later.compared,
            later.difference,
            self.bounded + later.bounded,
            self.uncompared + later.uncompared,
        )


def compare(executor: Mapping[str, Array], stream: Mapping[str, Array]) -> Agreement:
    """Compares the bytes of the tensors that both hold, in the order of ``executor``."""
    compared = []
    for name, array in executor.items():
        if name not in stream:
            continue
        compared.append(name)
        found = first_difference(name, array, stream[name])
        if found is not None:
            return Agreement(tuple(compared), found)
    return Agreement(tuple(compared), None)


def first_difference(name: str, executor: Array, stream: Array) -> Difference | None:
    """The first differing element; ValueError for tensors of different shape or dtype, which is a bug."""
    left, right = _alike(name, executor, stream)
    unsigned = np.dtype(f"u{left.dtype.itemsize}")
    differs = left.view(unsigned) != right.view(unsigned)
    return difference_at(name, _first(differs), left, right) if differs.any() else None


def range_difference(name: str, least: Array, largest: Array, stream: Array) -> Difference | None:
    """The first element outside its range, beside the end of the range that it is past.

    Values are compared, not bits; a NaN is in no range. ValueError as of :func:`first_difference`.
    """
    low, right = _alike(name, least, stream)
    high, _ = _alike(name, largest, stream)
    outside = ~((low <= right) & (right <= high))
    if not outside.any():
        return None
    index = _first(outside)
    return difference_at(name, index, high if right[index] > high[index] else low, right)


def difference_at(name: str, index: tuple[int, ...], executor: Array, stream: Array) -> Difference:
    """Both values at ``index`` of two arrays of one dtype."""
    left, right = executor[index], stream[index]
    return Difference(name, index, float(left), float(right), _bits(left), _bits(right))


def _alike(name: str, executor: Array, stream: Array) -> tuple[Array, Array]:
    if executor.shape != stream.shape or executor.dtype != stream.dtype:
        raise ValueError(
            f"'{name}' is {executor.dtype} {executor.shape} in the executor, "
            f"but {stream.dtype} {stream.shape} in the stream"
        )
    return np.ascontiguousarray(executor), np.ascontiguousarray(stream)


def _first(flags: Array) -> tuple[int, ...]:
    """The index of the first set flag in row-major order."""
    return tuple(int(i) for i in np.unravel_index(int(flags.argmax()), flags.shape))


def _bits(value: Any) -> str:
    return np.asarray(value).astype(value.dtype.newbyteorder(">")).tobytes().hex()
