"""What the forward pass of LightNorm returns (section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BatchStatistics:
    """What the forward pass learns of x before it normalizes, and gamma in ten bits.

    ``mean``, ``range``, ``scale`` and ``gamma_q`` are [C]; ``argmax`` and ``argmin`` are [C, K], the first
    position of each chunk's maximum and minimum.
    """

    mean: NDArray[np.float32]
    range: NDArray[np.float32]
    scale: NDArray[np.float32]
    gamma_q: NDArray[np.float32]
    argmax: NDArray[np.int64]
    argmin: NDArray[np.int64]


@dataclass(frozen=True)
class LightNormForward:
    """The result of the forward pass, and what the backward pass needs of it.

    ``y`` and ``xhat`` have the shape of x; ``mean``, ``scale``, ``gamma_q`` and ``range`` are [C];
    ``argmax`` and ``argmin`` are [C, K], the first position of each chunk's maximum and minimum.
    ``range`` is what running statistics are made of.
    """

    y: NDArray[np.float32]
    xhat: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    argmax: NDArray[np.int64]
    argmin: NDArray[np.int64]
    gamma_q: NDArray[np.float32]
    range: NDArray[np.float32]
