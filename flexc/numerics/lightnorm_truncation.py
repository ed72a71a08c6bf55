"""The ten-bit group format of LightNorm: truncation against a group's second largest exponent (section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_groups import Block, BlockScratch, GroupLayout, PlanesOfBlock
from flexc.numerics.minifloat import MinifloatFormat, largest_magnitude, round_block

_FRACTION_BITS = 23
_EXPONENT = 0xFF << _FRACTION_BITS
_EXPONENT_OF_INVERSE = 254
"""2^(e - 127) and 2^(254 - e - 127) are inverses."""


def bfp10(x: NDArray[np.float32], *, bits: int) -> NDArray[np.float32]:
    """Truncate groups of 4 consecutive channels of x [N, C, ...] against their second largest exponent.

    The elements of the largest exponent pass unchanged; one whose exponent is d below the second largest
    keeps bits - d - 1 fraction bits, or becomes +0. Raises NonFiniteError for a NaN or an infinity,
    ValueError for a rank below 2 or ``bits`` below 1.
    """
    if x.ndim < 2:
        raise ValueError(f"bfp10 takes [N, C, ...], not shape {list(x.shape)}")
    if bits < 1:
        raise ValueError(f"bfp10 of {bits} bits")
    require_finite(x, "bfp10", "x")
    x = np.asarray(x, np.float32)
    layout = GroupLayout.of(x)
    source, y = layout.view(x), layout.empty()
    result = layout.view(y)
    scratch = BlockScratch(layout)
    for groups in layout.group_runs():
        for block in layout.blocks(groups):
            memory = scratch.cut(block)
            layout.load(source, block, memory.planes)
            _truncate_any(memory, bits)
            layout.store(memory.planes, block, result)
    return y


@dataclass(frozen=True)
class QuantizedBlocks:
    """bfp10(minifloat(x), bits) of a tensor x [N, C, ...], a block at a time.

    :meth:`load` raises NonFiniteError in the name of ``op`` and ``tensor``.
    """

    x: NDArray[np.float32]
    layout: GroupLayout
    to: MinifloatFormat
    bits: int
    nearest: bool
    op: str
    tensor: str

    @cached_property
    def _source(self) -> NDArray[np.float32]:
        return self.layout.view(np.asarray(self.x, np.float32))

    def load(self, block: Block, memory: PlanesOfBlock) -> float:
        """Fill the planes of a block, and return a bound of its magnitudes."""
        self.layout.load(self._source, block, memory.planes)
        bound = largest_magnitude(memory.planes)
        if not np.isfinite(bound):
            require_finite(self.x, self.op, self.tensor)
        round_block(memory.planes, memory.work, self.to, self.nearest, bound)
        truncate_minifloats(memory, self.to, self.bits)
        # Rounding to one fraction bit or more enlarges a magnitude by a quarter at most.
        return min(1.25 * bound, self.to.largest)


def truncate_minifloats(memory: PlanesOfBlock, held: MinifloatFormat, bits: int) -> None:
    """:func:`bfp10` of planes that hold values of a minifloat, in place.

    An element of exponent e keeps k = bits - (e2 - e) - 1 fraction bits, the last of which is worth
    2^(e2 - bits + 1) whatever e is: the group is truncated to whole multiples of that unit. With ``bits``
    above the fraction bits, elements of e2 or more are such multiples already and so pass.
    """
    assert held.fraction_bits < bits
    planes, work, of_group = memory.planes, memory.work, memory.of_group
    np.bitwise_and(planes.view(np.int32), _EXPONENT, out=work)
    first, second, third, fourth = work
    np.maximum(first, second, out=of_group)
    np.minimum(first, second, out=first)
    np.maximum(third, fourth, out=second)
    np.minimum(third, fourth, out=third)
    np.minimum(of_group, second, out=of_group)
    np.maximum(first, third, out=first)
    np.maximum(of_group, first, out=of_group)
    # A group of fewer than two nonzero elements has nothing to truncate; any unit that is normal will do.
    np.maximum(of_group, held.least_bits, out=of_group)
    unit = np.subtract(of_group, (bits - 1) << _FRACTION_BITS, out=of_group).view(np.float32)
    inverse = np.subtract(_EXPONENT_OF_INVERSE << _FRACTION_BITS, of_group, out=first).view(np.float32)
    np.multiply(planes, inverse, out=planes)
    np.trunc(planes, out=planes)
    np.multiply(planes, unit, out=planes)
    # What was negative and is zero has become -0.
    np.add(planes, np.float32(0), out=planes)


def _truncate_any(memory: PlanesOfBlock, bits: int) -> None:
    """:func:`bfp10` of planes of any finite fp32, in place."""
    words, second = memory.planes.view(np.int32), memory.of_group
    exponent = np.right_shift(words, _FRACTION_BITS, out=memory.work)
    np.bitwise_and(exponent, 0xFF, out=exponent)
    high = np.maximum(exponent[0::2], exponent[1::2])
    low = np.minimum(exponent[0::2], exponent[1::2])
    largest = np.maximum(high[0], high[1])
    np.minimum(high[0], high[1], out=second)
    np.maximum(second, low[0], out=second)
    np.maximum(second, low[1], out=second)
    # All ones for normal numbers, zero for zeros and subnormals.
    mask = np.negative(exponent)
    np.right_shift(mask, 31, out=mask)
    np.bitwise_and(words, mask, out=words)
    # All ones below the largest exponent; what has that exponent drops nothing.
    np.subtract(exponent, largest, out=mask)
    np.right_shift(mask, 31, out=mask)
    dropped = np.subtract(second, exponent, out=memory.work)
    np.add(dropped, _FRACTION_BITS + 1 - bits, out=dropped)
    np.bitwise_and(dropped, mask, out=dropped)
    np.maximum(dropped, 0, out=dropped)
    np.minimum(dropped, _FRACTION_BITS + 1, out=dropped)
    # All ones while a fraction bit, or the leading one alone, is kept.
    np.subtract(dropped, _FRACTION_BITS + 1, out=mask)
    np.right_shift(mask, 31, out=mask)
    np.bitwise_and(words, mask, out=words)
    np.left_shift(-1, dropped, out=mask)
    np.bitwise_and(words, mask, out=words)
