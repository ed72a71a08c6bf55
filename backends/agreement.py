"""Whether the executor and the stream computed the same bits, and where they first did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

OUTPUT_TOLERANCE = 1e-5
"""Where fp32 contractions fix no order: how far an output may be off, as a share of its largest magnitude."""

INTERMEDIATE_TOLERANCE = 1e-4
"""The same for values in between, whose magnitudes may be small where they are sums that cancel."""


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
    """``compared`` tensors were looked at, in the program's order, up to the first difference."""

    compared: tuple[str, ...]
    difference: Difference | None
    exact: bool

    def then(self, later: Agreement) -> Agreement:
        """Both comparisons as one; what follows a difference does not count."""
        if self.difference is not None:
            return self
        return Agreement(self.compared + later.compared, later.difference, self.exact and later.exact)


def compare(
    executor: Mapping[str, Array], stream: Mapping[str, Array], *, tolerance: float | None = None
) -> Agreement:
    """Compares the tensors that both hold, in the order of ``executor``.

    Bytes must be equal. With a ``tolerance``, fp32 may differ by that share of the largest magnitude;
    integers are not compared then: the mantissas of values that differ a little may differ by a step.
    """
    exact = tolerance is None
    compared = []
    for name, array in executor.items():
        if name not in stream or not (exact or array.dtype == np.float32):
            continue
        compared.append(name)
        found = first_difference(name, array, stream[name], tolerance=tolerance)
        if found is not None:
            return Agreement(tuple(compared), found, exact)
    return Agreement(tuple(compared), None, exact)


def first_difference(
    name: str, executor: Array, stream: Array, *, tolerance: float | None = None
) -> Difference | None:
    """The first differing element; ValueError for tensors of different shape or dtype, which is a bug."""
    if executor.shape != stream.shape or executor.dtype != stream.dtype:
        raise ValueError(
            f"'{name}' is {executor.dtype} {executor.shape} in the executor, "
            f"but {stream.dtype} {stream.shape} in the stream"
        )
    left, right = np.ascontiguousarray(executor), np.ascontiguousarray(stream)
    unsigned = np.dtype(f"u{left.dtype.itemsize}")
    differs = left.view(unsigned) != right.view(unsigned)
    if tolerance is not None:
        limit = tolerance * float(np.abs(left).max(initial=0.0))
        differs &= ~(np.abs(left.astype(np.float64) - right) <= limit)
    if not differs.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(differs.argmax()), left.shape))
    digits = 2 * left.dtype.itemsize
    return Difference(
        name,
        index,
        float(left[index]),
        float(right[index]),
        f"{int(left.view(unsigned)[index]):0{digits}x}",
        f"{int(right.view(unsigned)[index]):0{digits}x}",
    )
