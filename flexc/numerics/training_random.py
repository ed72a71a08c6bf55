"""Random bits of a training step: dropout and stochastic rounding (specification, sections 1 and 3.8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor, Rounding, Sign
from flexc.numerics.quantization import quantize
from flexc.numerics.random_bits import random_bits, stream_of


def dropout_mask(
    step: NDArray[np.int64], *, shape: Sequence[int], ratio: float, seed: int, node: int
) -> NDArray[np.float32]:
    """RN32(1 / (1 - ratio)) where the element is kept, +0 where it is dropped.

    An element is dropped where its 16 random bits are below floor(ratio * 2^16); `step` is of rank 0, and
    (step * 2^12 + node) the stream. Raises ValueError unless 0 <= ratio < 1.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"dropout_mask: ratio {ratio} is not in [0, 1)")
    bits = random_bits(tuple(shape), seed=seed, stream=stream_of(int(step), node))
    return np.where(bits >= int(ratio * 2**16), np.float32(1 / (1 - ratio)), np.float32(0))


def quantize_in_step(
    x: NDArray[np.float32],
    step: NDArray[np.int64],
    *,
    mantissa_bits: int,
    tile: Sequence[int],
    seed: int,
    node: int,
    sign: str = Sign.INCLUDED,
    rounding: str = Rounding.STOCHASTIC,
) -> BlockTensor:
    """:func:`flexc.numerics.quantize` with the random bits of node `node` in step `step` (rank 0)."""
    return quantize(
        x,
        mantissa_bits=mantissa_bits,
        tile=tile,
        sign=sign,
        rounding=rounding,
        seed=seed,
        stream=stream_of(int(step), node),
    )
