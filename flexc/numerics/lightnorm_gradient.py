"""What LightNorm's backward pass has between its two passes over the gradient (section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GradientTerms:
    """dx = bfp10(FP10B(c * (h - a - b at maxima + b at minima))).

    ``a``, ``b`` and ``c`` are [C], the positions of the extrema [C, K]; no product is above ``bound``.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    c: NDArray[np.float32]
    argmax: NDArray[np.int64]
    argmin: NDArray[np.int64]
    bound: float


@dataclass(frozen=True)
class GradientSums:
    """Of h = bfp10(FP10B(g)): the sums [C], a bound of its magnitudes, and how to ``finish``, once, to dx."""

    dgamma: NDArray[np.float32]
    dbeta: NDArray[np.float32]
    largest_h: float
    finish: Callable[[GradientTerms], NDArray[np.float32]]
