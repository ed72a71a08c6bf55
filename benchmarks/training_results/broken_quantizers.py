"""Quantizers with a fault that a real one could have: training results have to show it.

Each takes the place of :func:`flexc.numerics.quantize` for a whole run, in forward, backward and testing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc import numerics
from flexc.numerics import BlockTensor
from flexc.numerics.block_float import expand_groups

Planes: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class Fault(StrEnum):
    """What is wrong with a quantizer."""

    EXPONENT_ONE_LOW = "exponent one low"
    FLOOR = "floor"
    NEXT_EXPONENT = "exponent of the next group"


def _exponent_one_low(x: npt.NDArray[np.float32], made: BlockTensor) -> Planes:
    """The largest elements of each group saturate."""
    units = expand_groups(made.unit() / 2, x.shape, made.tile)
    return np.rint(x / units), np.maximum(made.exponent, 1) - 1


def _floor(x: npt.NDArray[np.float32], made: BlockTensor) -> Planes:
    """An arithmetic shift of two's complement: negative elements round away from zero, others towards it."""
    return np.floor(x / expand_groups(made.unit(), x.shape, made.tile)), made.exponent


def _next_exponent(x: npt.NDArray[np.float32], made: BlockTensor) -> Planes:
    """Exponents are read one place off: each group is scaled by its neighbour's."""
    return made.mantissa, np.roll(made.exponent.ravel(), 1).reshape(made.exponent.shape)


_PLANES: dict[Fault, Callable[[npt.NDArray[np.float32], BlockTensor], Planes]] = {
    Fault.EXPONENT_ONE_LOW: _exponent_one_low,
    Fault.FLOOR: _floor,
    Fault.NEXT_EXPONENT: _next_exponent,
}


@contextmanager
def broken_quantizer(fault: Fault | None) -> Iterator[None]:
    """Programs that are compiled and run inside quantize with this fault; None breaks nothing."""
    if fault is None:
        yield
        return
    right, planes = numerics.quantize, _PLANES[fault]

    def quantize(x: npt.NDArray[np.float32], **options: Any) -> BlockTensor:
        made = right(x, **options)
        mantissa, exponent = planes(x, made)
        largest = made.format.largest_magnitude
        mantissa = np.where(expand_groups(exponent == 0, x.shape, made.tile), 0, mantissa)
        kept = np.clip(mantissa, -largest, largest).astype(made.format.mantissa_dtype)
        return BlockTensor.from_planes(kept, exponent.astype(np.uint8), made.format, made.tile)

    vars(numerics)["quantize"] = quantize
    try:
        yield
    finally:
        vars(numerics)["quantize"] = right
