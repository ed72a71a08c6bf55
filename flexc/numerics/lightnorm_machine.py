"""LightNorm's training passes in the steps that a machine takes a tile at a time (section 5).

Tiles are [positions, C] with whole groups of channels. Sums, maxima and minima are integers in units of
2^-18, in which they are exact and may be joined in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.lightnorm_constants import BACKWARD_BITS, FORWARD_BITS, scale_of_range
from flexc.numerics.lightnorm_statistics import FP10A_PLACES
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import FP10A, FP10B, STATS, round_fp64_to, round_to

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ChunkState:
    """Of chunks so far: sums, extrema and their first positions, each [K, C]."""

    total: Integers
    largest: Integers
    least: Integers
    argmax: Integers
    argmin: Integers

    def joined(self, later: ChunkState) -> ChunkState:
        """With further positions of the same chunks, which come later."""
        above, below = later.largest > self.largest, later.least < self.least
        return ChunkState(
            self.total + later.total,
            np.where(above, later.largest, self.largest),
            np.where(below, later.least, self.least),
            np.where(above, later.argmax, self.argmax),
            np.where(below, later.argmin, self.argmin),
        )


def lightnorm_chunk_state(x: NDArray[np.float32], positions: Integers, *, rounding: str) -> ChunkState:
    """The state of chunks of x [K, n, C] at ``positions`` [K, n], counted over all chunks.

    Raises NonFiniteError for a value that is not finite.
    """
    chunks, n, channels = x.shape
    rounded = round_to(x.reshape(-1, channels), FP10A, rounding, "lightnorm_forward", "x")
    quantized = bfp10(rounded, bits=FORWARD_BITS).reshape(chunks, n, channels)
    in_places = np.ldexp(quantized, FP10A_PLACES).astype(np.int64)
    argmax, argmin = in_places.argmax(axis=1), in_places.argmin(axis=1)
    chunk = np.arange(chunks)[:, np.newaxis]
    return ChunkState(
        in_places.sum(axis=1),
        in_places.max(axis=1),
        in_places.min(axis=1),
        positions[chunk, argmax],
        positions[chunk, argmin],
    )


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
