"""Ranges of values that are not known to the bit, carried through kernels that keep the order of values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc import numerics
from flexc.ir.attributes import Literal
from flexc.ir.kernel_calls import KernelCall

Array: TypeAlias = npt.NDArray[Any]
Keywords: TypeAlias = tuple[tuple[str, Literal], ...]


@dataclass(frozen=True)
class Range:
    """Element by element, a value lies between ``least`` and ``largest``; both are finite."""

    least: Array
    largest: Array


@dataclass(frozen=True)
class BlockRange:
    """Ranges of the two planes of a block tensor; none of the mantissas where an exponent is open."""

    mantissa: Range | None
    exponent: Range


_ALL = frozenset(range(16))
_FIRST = frozenset({0})

MONOTONE: dict[str, frozenset[int]] = {
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum", "where", "less", "greater"), _ALL),
    **dict.fromkeys(("relu", "leaky_relu", "clip", "hard_sigmoid", "neg", "floor", "hard_swish"), _FIRST),
    **dict.fromkeys(("reshape", "transpose", "strided_slice", "expand", "gather"), _FIRST),
    "concat": _ALL,
    **dict.fromkeys(("average_pool", "max_pool", "reduce_max", "reduce_mean", "reduce_sum"), _FIRST),
    **dict.fromkeys(("batch_norm", "average_pool_grad", "gather_grad", "div"), _FIRST),
}
"""Kernels by the operands in which every element of their result only rises or only falls.

Rounding keeps the order of values, so that results of the least and the largest operands bound all others.
The transcendental functions are not here: they are within 2 ulp, not monotone. Quantization
and LightNorm are not: an element rounds by the exponent that its neighbours give the group.
"""


def range_through(call: KernelCall, operands: Sequence[Any]) -> Range | None:
    """The range of a call's one result, for operands of which some are ranges; None where none is sound.

    A kernel that refuses a bound as not finite gives none, nor do bounds that overflow.
    """
    found = _stage(call.function, call.keywords, operands)
    if found is None or call.activation is None:
        return found
    name, keywords = call.activation
    return _stage(name, keywords, (found,))


def quantized_range(call: KernelCall, operands: Sequence[Any]) -> BlockRange | None:
    """What a quantizer makes of a range, its first operand; None where it refuses a bound.

    The exponent of a group only rises with magnitudes. Where the least and the largest magnitudes give the
    same ones, each mantissa only rises with its element, whatever the rounding.
    """
    x, *others = operands
    if not isinstance(x, Range) or any(isinstance(one, Range) for one in others):
        return None
    magnitudes = np.abs(x.least), np.abs(x.largest)
    around_zero = (x.least <= 0) & (x.largest >= 0)
    smallest = np.where(around_zero, np.float32(0), np.minimum(*magnitudes))
    kernel = getattr(numerics, call.function)
    try:
        low, high, near, far = (
            kernel(one, *others, **dict(call.keywords))
            for one in (x.least, x.largest, smallest, np.maximum(*magnitudes))
        )
    except numerics.NonFiniteError:
        return None
    exponent = Range(near.exponent, far.exponent)
    certain = np.array_equal(near.exponent, far.exponent)
    return BlockRange(Range(low.mantissa, high.mantissa) if certain else None, exponent)


def _stage(function: str, keywords: Keywords, operands: Sequence[Any]) -> Range | None:
    uncertain = {index for index, operand in enumerate(operands) if isinstance(operand, Range)}
    if not uncertain <= MONOTONE.get(function, frozenset()) or _turns_round(function, dict(keywords)):
        return None
    if function == "hard_swish":
        # It falls and rises again, but each of its two factors only rises.
        sigmoid = (("alpha", 1 / 6), ("beta", 0.5))
        factor = _stage("hard_sigmoid", sigmoid, operands)
        return None if factor is None else _stage("mul", (), (operands[0], factor))
    ends = [(one.least, one.largest) if isinstance(one, Range) else (one,) for one in operands]
    kernel = getattr(numerics, function)
    try:
        corners = [np.asarray(kernel(*corner, **dict(keywords))) for corner in itertools.product(*ends)]
    except numerics.NonFiniteError:
        return None
    if not all(np.isfinite(corner).all() for corner in corners):
        return None
    return Range(np.minimum.reduce(corners), np.maximum.reduce(corners))


def _turns_round(function: str, keywords: dict[str, Literal]) -> bool:
    """Whether the attributes of a call make a monotone kernel fall and rise."""
    alpha = keywords.get("alpha", 0.0)
    return function == "leaky_relu" and isinstance(alpha, float) and alpha < 0
