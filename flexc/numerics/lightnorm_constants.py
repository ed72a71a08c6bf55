"""What LightNorm normalizes with: chunks, the range constant, the scale, gamma in ten bits (section 5)."""

from __future__ import annotations

from math import gcd, log, sqrt

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_truncation import bfp10
from flexc.numerics.minifloat import FP10A, STATS, round_to

FORWARD_BITS = 7
BACKWARD_BITS = 6


def chunk_count(positions: int, num_chunks: int) -> int:
    """K, the number of chunks.

    Raises ValueError when a chunk would have fewer than 2 positions, or ``num_chunks`` is below 1.
    """
    if num_chunks < 1:
        raise ValueError(f"num_chunks {num_chunks} is below 1")
    chunks = gcd(positions, num_chunks)
    if positions < 2 * chunks:
        raise ValueError(f"{positions} positions in {chunks} chunks: a chunk needs 2 positions or more")
    return chunks


def range_constant(positions_per_chunk: int) -> np.float32:
    """C, by which a range of ``positions_per_chunk`` samples becomes a standard deviation."""
    return np.float32(1 / sqrt(2 * log(positions_per_chunk)))


def scale_of_range(
    batch_range: NDArray[np.float32], constant: np.float32, eps: float, rounding: str, op: str
) -> NDArray[np.float32]:
    """s = STATS(1 / (range * C + eps)) of ranges [C].

    Raises NonFiniteError for a divisor or a reciprocal that is not finite.
    """
    with np.errstate(all="ignore"):
        divisor = batch_range * constant + np.float32(eps)
        require_finite(divisor, op, "range + eps")
        reciprocal = np.float32(1) / divisor
    return round_to(reciprocal, STATS, rounding, op, "1 / (range + eps)")


def quantize_gamma(gamma: NDArray[np.float32], rounding: str, op: str) -> NDArray[np.float32]:
    """gq = bfp10(FP10A(gamma), 7) of gamma [C]."""
    rounded = round_to(gamma, FP10A, rounding, op, "gamma")
    return bfp10(rounded.reshape(1, -1), bits=FORWARD_BITS).reshape(-1)


def require_channels(x: NDArray[np.float32], op: str, **vectors: NDArray[np.float32]) -> None:
    """Check x [N, C, ...] and vectors [C].

    Raises ValueError for other shapes, NonFiniteError for a vector that is not finite.
    """
    if x.ndim < 2:
        raise ValueError(f"{op} takes [N, C, ...], not shape {list(x.shape)}")
    require_vectors(op, **vectors)
    for name, vector in vectors.items():
        if vector.shape != (x.shape[1],):
            raise ValueError(f"{op}: {name} has shape {list(vector.shape)} for {x.shape[1]} channels")


def require_vectors(op: str, **vectors: NDArray[np.float32]) -> None:
    """Raises ValueError unless the vectors have rank 1, NonFiniteError unless they are finite."""
    for name, vector in vectors.items():
        if vector.ndim != 1:
            raise ValueError(f"{op}: {name} has rank {vector.ndim}, not 1")
        require_finite(vector, op, name)
