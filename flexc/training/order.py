"""The order of the examples in each epoch: a hash of seed, epoch and index, sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexc.numerics.random_bits import random_bits

ORDER_STREAM = 0x5348_5546
"""Sets these random bits apart from those of stochastic rounding with the same seed."""


def order_of_epoch(count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of ``count`` examples, the same on every machine and with every version of NumPy."""
    high, low = (random_bits((count,), seed=seed ^ ORDER_STREAM, stream=2 * epoch + half) for half in (0, 1))
    return np.argsort(high.astype(np.int64) << 16 | low, kind="stable")
