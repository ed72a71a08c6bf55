"""Quantization to nearest in groups along one axis, by the rounding of fp32 addition itself.

Adding 1.5 * 2^23 units of a group to its elements leaves no place for a fraction of a unit, so the addition
rounds to whole units, ties to even; taking the constant off again is exact. The tensor is worked through
in pieces that stay in cache, with few NumPy calls a piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockFormat, BlockTensor, groups_shape
from flexc.numerics.errors import require_finite

# Pieces with a long contiguous inner axis may spill a little; short lines cost more than that.
_PIECE_ELEMENTS = 1 << 16
_PIECE_ELEMENTS_OF_PLANES = 1 << 18
_FRACTION_BITS = 23
_MOST_MAGNITUDE_BITS = 22
# Up to this exponent, and from magnitude_bits + 2 on, the constants and the units are normal numbers.
_LARGEST_EXPONENT = 230
Piece = tuple[slice, slice]
"""Outer and inner indices."""


@dataclass(frozen=True)
class AxisGroups:
    """A dense tensor as [outer, length, inner] in the order of its memory, groups in the middle.

    A group has ``extent`` elements; ``order`` lists the tensor's axes from the outermost in
    memory to the innermost.
    """

    order: tuple[int, ...]
    outer: int
    length: int
    inner: int
    extent: int

    @classmethod
    def of(cls, x: NDArray[Any], tile: tuple[int, ...]) -> AxisGroups | None:
        """How ``x`` can be seen so, or None where a group is not a run of one (merged) axis."""
        order = tuple(sorted(range(x.ndim), key=lambda axis: (-x.strides[axis], axis)))
        if not x.transpose(order).flags.c_contiguous:
            return None
        axes = [axis for axis in order if x.shape[axis] > 1]
        grouped = [axis for axis in axes if tile[axis] > 1]
        if not grouped:
            return cls(order, x.size, 1, 1, 1)
        first, last = axes.index(grouped[0]), axes.index(grouped[-1])
        within = axes[first + 1 : last + 1]
        if any(tile[axis] < x.shape[axis] for axis in within):
            return None
        merged = prod(x.shape[axis] for axis in within)
        return cls(
            order,
            outer=prod(x.shape[axis] for axis in axes[:first]),
            length=x.shape[grouped[0]] * merged,
            inner=prod(x.shape[axis] for axis in axes[last + 1 :]),
            extent=tile[grouped[0]] * merged,
        )

    @property
    def runs(self) -> list[slice]:
        """The groups along the middle axis."""
        return [
            slice(start, min(start + self.extent, self.length))
            for start in range(0, self.length, self.extent)
        ]

    def pieces(self) -> Iterator[Piece]:
        """Cut outer and inner indices so that the elements of a piece stay in cache."""
        elements = _PIECE_ELEMENTS if self.inner == 1 else _PIECE_ELEMENTS_OF_PLANES
        inner_step = min(self.inner, max(256, elements // self.length))
        outer_step = max(1, elements // (inner_step * self.length))
        for outer in range(0, self.outer, outer_step):
            for inner in range(0, self.inner, inner_step):
                yield slice(outer, outer + outer_step), slice(inner, inner + inner_step)


def quantize_along_axis(
    x: NDArray[np.float32], block_format: BlockFormat, tile: tuple[int, ...]
) -> BlockTensor | None:
    """:func:`flexc.numerics.quantize` to nearest, or None where this way does not do it exactly."""
    p = block_format.magnitude_bits
    if x.size == 0 or p > _MOST_MAGNITUDE_BITS:
        return None
    groups = AxisGroups.of(x, tile)
    if groups is None:
        x = x.copy(order="K")
        groups = AxisGroups.of(x, tile)
        if groups is None:
            return None
    in_memory = x.transpose(groups.order)
    source = in_memory.reshape(groups.outer, groups.length, groups.inner)
    quantized = (_quantize_compiled if use_compiled() else _quantize_pieces)(source, groups, p)
    if quantized is None:
        require_finite(x, "quantize", "x")
        return None
    exponent, values = quantized
    back = np.argsort(groups.order)
    memory_groups = groups_shape(in_memory.shape, tuple(tile[axis] for axis in groups.order))
    return BlockTensor(
        shape=x.shape,
        exponent=exponent.reshape(memory_groups).transpose(back),
        format=block_format,
        tile=tile,
        values=values.reshape(in_memory.shape).transpose(back),
    )


Quantized = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Exponents [outer, groups, inner] and values [outer, length, inner]."""


def _quantize_compiled(source: NDArray[np.float32], groups: AxisGroups, p: int) -> Quantized | None:
    from flexc.numerics.compiled.quantization import quantize_groups

    exponent, values = quantize_groups(source, groups.extent, p)
    return (exponent, values) if _constants_are_normal(exponent, p) else None


def _quantize_pieces(source: NDArray[np.float32], groups: AxisGroups, p: int) -> Quantized | None:
    largest = _largest_magnitudes(source, groups)
    exponent = (largest >> np.uint32(_FRACTION_BITS + 1)).astype(np.uint8)
    if not _constants_are_normal(exponent, p):
        return None
    biased = np.maximum(exponent, np.uint8(p + 2)).astype(np.uint32)
    values = _round_to_units(source, groups, biased, p)

    # Only a group whose largest magnitude is within half a unit of 2^p can have been rounded up to it.
    fraction = largest & np.uint32((1 << 24) - 1)
    full = fraction >= np.uint32((1 << 24) - (1 << (24 - p)))
    if full.any():
        _cut_to_largest(values, groups, biased, full, p)
    return exponent, values


def _constants_are_normal(exponent: NDArray[np.uint8], p: int) -> bool:
    """Groups of zeros, whose exponents wrap to 255 here, borrow the least exponent that is possible."""
    return bool(exponent.max() <= _LARGEST_EXPONENT and (exponent - np.uint8(1)).min() > p)


def _largest_magnitudes(source: NDArray[np.float32], groups: AxisGroups) -> NDArray[np.uint32]:
    """[outer, groups, inner]: the largest magnitude of each group, as the bits of the float less the sign."""
    starts = range(0, groups.length, groups.extent)
    largest = np.empty((groups.outer, len(starts), groups.inner), np.uint32)
    pieces = list(groups.pieces())
    scratch = aligned_empty((source[pieces[0][0], :, pieces[0][1]].size,), np.uint32)
    for outer, inner in pieces:
        piece = source[outer, :, inner].view(np.uint32)
        magnitude = scratch[: piece.size].reshape(piece.shape)
        np.left_shift(piece, np.uint32(1), out=magnitude)
        if groups.inner == 1:
            np.maximum.reduceat(magnitude[:, :, 0], starts, axis=1, out=largest[outer, :, 0])
            continue
        for g, run in enumerate(groups.runs):
            np.maximum.reduce(magnitude[:, run], axis=1, out=largest[outer, g, inner])
    return largest


def _round_to_units(
    source: NDArray[np.float32], groups: AxisGroups, biased: NDArray[np.uint32], p: int
) -> NDArray[np.float32]:
    """The elements rounded to whole units of their groups, which may reach 2^p units."""
    constant_bits = (biased + np.uint32(_FRACTION_BITS + 1 - p)) << np.uint32(_FRACTION_BITS)
    constant = (constant_bits | np.uint32(1 << (_FRACTION_BITS - 1))).view(np.float32)
    values = aligned_empty(source.shape, np.float32)
    lengths = [run.stop - run.start for run in groups.runs]
    for outer, inner in groups.pieces():
        if groups.inner == 1:
            # Repeating the constants costs less than a short inner loop for each group.
            repeated = np.repeat(constant[outer], lengths, axis=1)
            np.add(source[outer], repeated, out=values[outer])
            np.subtract(values[outer], repeated, out=values[outer])
            continue
        for g, run in enumerate(groups.runs):
            of_group = constant[outer, g : g + 1, inner]
            rounded = values[outer, run, inner]
            np.add(source[outer, run, inner], of_group, out=rounded)
            np.subtract(rounded, of_group, out=rounded)
    return values


def _cut_to_largest(
    values: NDArray[np.float32],
    groups: AxisGroups,
    biased: NDArray[np.uint32],
    full: NDArray[np.bool_],
    p: int,
) -> None:
    """Cut magnitudes in the ``full`` groups to 2^p - 1 units."""
    for g, run in enumerate(groups.runs):
        outer, inner = np.nonzero(full[:, g])
        unit = ((biased[outer, g, inner] - np.uint32(p - 1)) << np.uint32(_FRACTION_BITS)).view(np.float32)
        limit = (unit * np.float32((1 << p) - 1))[:, np.newaxis]
        at_most = np.minimum(values[outer, run, inner], limit)
        values[outer, run, inner] = np.maximum(at_most, -limit)
