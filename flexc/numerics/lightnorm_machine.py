"""LightNorm's training passes in the steps that a machine takes a tile at a time (section 5).

Tiles are [positions, C] with whole groups of channels. Sums, maxima and minima are integers in units of
2^-18, in which they are exact and may be joined in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.lightnorm_constants import BACKWARD_BITS, FORWARD_BITS, scale_of_range
from flexc.numerics.lightnorm_statistics import FP10A_PLACES
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import FP10A, FP10B, STATS, round_fp64_to, round_to

Integers = NDArray[np.int64]


NO_POSITION = np.iinfo(np.int64).max
"""Behind every position: where a chunk has met none."""


@dataclass(frozen=True)
class ChunkState:
    """Of chunks so far: sums, extrema and their first positions, each [K, C].

    States may be joined in any order, and say the same whatever tiles they come from.
    """

    total: Integers
    largest: Integers
    least: Integers
    argmax: Integers
    argmin: Integers

    @classmethod
    def of_nothing(cls, chunks: int, channels: int) -> ChunkState:
        """Chunks of which no position was met."""
        limits = np.iinfo(np.int64)
        fills = (0, limits.min, limits.max, NO_POSITION, NO_POSITION)
        return cls(*(np.full((chunks, channels), fill, np.int64) for fill in fills))

    def joined(self, other: ChunkState) -> ChunkState:
        """With further positions of the same chunks; of equal extrema the first position counts."""
        above = (other.largest > self.largest) | (
            (other.largest == self.largest) & (other.argmax < self.argmax)
        )
        below = (other.least < self.least) | ((other.least == self.least) & (other.argmin < self.argmin))
        return ChunkState(
            self.total + other.total,
            np.where(above, other.largest, self.largest),
            np.where(below, other.least, self.least),
            np.where(above, other.argmax, self.argmax),
            np.where(below, other.argmin, self.argmin),
        )


def lightnorm_chunk_state(
    x: NDArray[np.float32], positions: Integers, chunks: range, chunk_positions: int, *, rounding: str
) -> ChunkState:
    """The state of ``chunks``, of ``chunk_positions`` each, that x [P, C] at ``positions`` [P] makes.

    Positions are in any order, each once. Raises NonFiniteError for a value that is not finite, ValueError
    for a position in none of the chunks.
    """
    rounded = round_to(x, FP10A, rounding, "lightnorm_forward", "x")
    in_places = np.ldexp(bfp10(rounded, bits=FORWARD_BITS), FP10A_PLACES).astype(np.int64)
    if (np.diff(positions) < 0).any():
        order = np.argsort(positions)
        positions, in_places = positions[order], in_places[order]
    found = ChunkState.of_nothing(len(chunks), x.shape[1])
    ends = np.searchsorted(positions, [chunk_positions * chunk for chunk in (*chunks, chunks.stop)])
    if ends[0] > 0 or ends[-1] < len(positions):
        met = f"positions {positions[0]} to {positions[-1]}"
        raise ValueError(f"{met} in chunks {chunks.start} to {chunks[-1]} of {chunk_positions}")
    for chunk, (first, end) in enumerate(pairwise(ends.tolist())):
        if first == end:
            continue
        part = in_places[first:end]
        argmax, argmin = part.argmax(axis=0), part.argmin(axis=0)
        found.total[chunk] = part.sum(axis=0)
        found.largest[chunk], found.least[chunk] = part.max(axis=0), part.min(axis=0)
        found.argmax[chunk], found.argmin[chunk] = positions[first + argmax], positions[first + argmin]
    return found


def lightnorm_statistics(
    state: ChunkState, *, positions: int, constant: np.float32, eps: float, rounding: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(mean, range, scale) [C] of all chunks, of ``positions`` together.

    Raises NonFiniteError for a scale that is not finite.
    """
    mean = lightnorm_mean(state.total.sum(axis=0), positions, rounding)
    batch_range = lightnorm_range(state.largest.sum(axis=0) - state.least.sum(axis=0), len(state.total))
    return mean, batch_range, scale_of_range(batch_range, constant, eps, rounding, "lightnorm_forward")


def lightnorm_mean(total: Integers, positions: int, rounding: str) -> NDArray[np.float32]:
    """STATS of the mean of integer sums [C]."""
    mean = np.ldexp(total.astype(np.float64) / np.float64(positions), -FP10A_PLACES)
    return round_fp64_to(mean, STATS, rounding)


def lightnorm_range(spread: Integers, chunks: int) -> NDArray[np.float32]:
    """The mean range of ``chunks`` chunks, of the sums [C] of their ranges.

    The sum is exact, and its fp64 quotient by a small number is never moved onto a tie between fp32 values.
    """
    return np.ldexp(spread.astype(np.float64) / chunks, -FP10A_PLACES).astype(np.float32)


def lightnorm_xhat(
    x: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32], *, rounding: str
) -> NDArray[np.float32]:
    """xhat of x [positions, C]. Raises NonFiniteError for a value that is not finite."""
    op = "lightnorm_forward"
    quantized = bfp10(round_to(x, FP10A, rounding, op, "x"), bits=FORWARD_BITS)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        centred = (quantized - mean) * scale
    return round_to(centred, FP10A, rounding, op, "xhat")


def lightnorm_narrow(g: NDArray[np.float32], *, rounding: str) -> NDArray[np.float32]:
    """bfp10(FP10B(g), 6) of gradients g [positions, C].

    Raises NonFiniteError for a value that is not finite.
    """
    return bfp10(round_to(g, FP10B, rounding, "lightnorm_backward", "g"), bits=BACKWARD_BITS)
