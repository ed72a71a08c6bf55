"""Exact sums and chunk extrema of quantized channels, for the forward pass of LightNorm (section 5).

FP10A leaves the low 19 bits of an fp32 word free. An order-preserving integer of the word with the position
in those bits makes one integer maximum find both the largest value and the first place where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.lightnorm_groups import BLOCK_ELEMENTS, CHANNELS_PER_GROUP, GroupLayout

FP10A_PLACES = 18
"""FP10A values are whole multiples of 2^-18: the least is 2^-14, with 4 fraction bits."""
MOST_SUMMED_AT_ONCE = 1 << 19
"""Values of FP10A, below 2^16: fp64 holds the sums of no more of them exactly."""

_POSITION_BITS = 19
_POSITION = (1 << _POSITION_BITS) - 1
_SIGN_SHIFT = 31
_MAGNITUDE = 0x7FFFFFFF
_FEW_ROWS = 8


@dataclass(frozen=True)
class ChannelStatistics:
    """Of channels in K chunks of n positions: values are integers, in units of 2^-18.

    ``total`` is [C]; ``largest``, ``least`` and the positions where each stands first, counted over all
    positions, are [C, K].
    """

    total: NDArray[np.int64]
    largest: NDArray[np.int64]
    least: NDArray[np.int64]
    argmax: NDArray[np.int64]
    argmin: NDArray[np.int64]


@dataclass
class _Extrema:
    """The keys of one chunk's extrema so far, less their positions, and those positions."""

    keys: NDArray[np.int32]
    positions: NDArray[np.int64]

    def follow(
        self, keys: NDArray[np.int32], positions: NDArray[np.int64], better: NDArray[np.bool_]
    ) -> None:
        """Take over what a later piece of the chunk has that is strictly better."""
        np.copyto(self.keys, keys, where=better)
        np.copyto(self.positions, positions, where=better)


def channel_statistics(planes: NDArray[np.float32], layout: GroupLayout, chunks: int) -> ChannelStatistics:
    """The statistics of :meth:`GroupLayout.empty_planes` that hold values of FP10A."""
    n = layout.positions // chunks
    if layout.channels_last:
        pieces = planes.reshape(CHANNELS_PER_GROUP, chunks, n, layout.groups)
    else:
        pieces = layout.by_channel(planes).reshape(-1, 1, n, 1)
    total, *of_chunks = _by_chunk(pieces)

    def of_channels(values: NDArray[np.int64]) -> NDArray[np.int64]:
        if layout.channels_last:
            return layout.from_channel_planes(values.swapaxes(1, 2))
        return layout.from_channel_planes(values.reshape(CHANNELS_PER_GROUP, layout.groups, chunks))

    largest, least, argmax, argmin = map(of_channels, of_chunks)
    first = np.arange(chunks) * n
    return ChannelStatistics(of_channels(total).sum(axis=1), largest, least, argmax + first, argmin + first)


def _by_chunk(pieces: NDArray[np.float32]) -> tuple[NDArray[np.int64], ...]:
    """Totals, maxima, minima and their first positions [a, K, b] of values [a, K, n, b]."""
    a, chunks, n, b = pieces.shape
    step = min(n, max(1, BLOCK_ELEMENTS // b))
    assert step <= 1 << _POSITION_BITS
    together = min(a, max(1, BLOCK_ELEMENTS // (step * b)))
    scratch = _Scratch(together, step, b)
    results = tuple(np.zeros((a, chunks, b), np.int64) for _ in range(5))
    total, largest, least, argmax, argmin = results
    for first in range(0, a, together):
        rows = slice(first, first + together)
        for chunk in range(chunks):
            highest = lowest = None
            for start, values in _steps(pieces[rows, chunk], step):
                total[rows, chunk] += scratch.total(values)
                high, low = scratch.extrema(values, start)
                if highest is None or lowest is None:
                    highest, lowest = high, low
                    continue
                highest.follow(high.keys, high.positions, high.keys > highest.keys)
                lowest.follow(low.keys, low.positions, low.keys < lowest.keys)
            assert highest is not None
            assert lowest is not None
            largest[rows, chunk], argmax[rows, chunk] = _in_places(highest.keys), highest.positions
            least[rows, chunk], argmin[rows, chunk] = _in_places(lowest.keys), lowest.positions
    return results


def _steps(values: NDArray[np.float32], step: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, values.shape[1], step):
        yield start, values[:, start : start + step]


class _Scratch:
    """Memory for pieces [rows, positions, b] no larger than given."""

    def __init__(self, rows: int, positions: int, b: int) -> None:
        shape = (rows, positions, b)
        self._wide = aligned_empty(shape, np.float64)
        self._keys = aligned_empty(shape, np.int32)
        self._folded = aligned_empty((rows, -(-positions // 2), b), np.int32)
        self._ones = np.ones(positions)
        self._rising = aligned_empty(shape, np.int32)
        self._rising[...] = np.arange(positions, dtype=np.int32)[:, np.newaxis]
        self._to_falling = _POSITION - 2 * self._rising

    def total(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The sum over positions: exact in fp64, in any order, of up to 2^19 values below 2^16."""
        rows, positions, b = values.shape
        wide = self._wide[:rows, :positions]
        np.copyto(wide, values)
        ones = self._ones[:positions]
        total = (wide[:, :, 0] @ ones)[:, np.newaxis] if b == 1 else ones @ wide
        return np.ldexp(total, FP10A_PLACES).astype(np.int64)

    def extrema(self, values: NDArray[np.float32], start: int) -> tuple[_Extrema, _Extrema]:
        """The first maxima and minima over positions, of which the first is ``start``."""
        rows, positions, _ = values.shape
        keys, folded = self._keys[:rows, :positions], self._folded[:rows]
        words = values.view(np.int32)
        np.right_shift(words, _SIGN_SHIFT, out=keys)
        np.bitwise_and(keys, _MAGNITUDE, out=keys)
        np.bitwise_xor(keys, words, out=keys)
        np.bitwise_and(keys, ~_POSITION, out=keys)
        np.add(keys, self._rising[:rows, :positions], out=keys)
        low = _fold(np.minimum, keys, folded)
        np.add(keys, self._to_falling[:rows, :positions], out=keys)
        high = _fold(np.maximum, keys, folded)
        return (
            _Extrema(high & ~_POSITION, start + _POSITION - (high & _POSITION).astype(np.int64)),
            _Extrema(low & ~_POSITION, start + (low & _POSITION).astype(np.int64)),
        )


def _fold(extremum: np.ufunc, keys: NDArray[np.int32], folded: NDArray[np.int32]) -> NDArray[np.int32]:
    """The extremum over the middle axis, by halves: a short last axis makes a plain reduction slow."""
    _, positions, b = keys.shape
    if b == 1:
        of_rows: NDArray[np.int32] = extremum.reduce(keys[:, :, 0], axis=1)[:, np.newaxis]
        return of_rows
    left = keys
    while positions > _FEW_ROWS:
        half = positions // 2
        rest = positions - half
        # The odd one out in the middle meets itself.
        extremum(left[:, :rest], left[:, half:positions], out=folded[:, :rest])
        left, positions = folded, rest
    result: NDArray[np.int32] = extremum.reduce(left[:, :positions], axis=1)
    return result


def _in_places(keys: NDArray[np.int32]) -> NDArray[np.int64]:
    """The values of keys, in units of 2^-18."""
    words = (keys ^ (keys >> _SIGN_SHIFT & _MAGNITUDE)) & ~_POSITION
    return np.ldexp(words.view(np.float32), FP10A_PLACES).astype(np.int64)
