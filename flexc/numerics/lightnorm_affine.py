"""Steps 4 and 5 of LightNorm, block by block: from quantized x to xhat and y (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.lightnorm_constants import FORWARD_BITS
from flexc.numerics.lightnorm_groups import Block, BlockScratch, GroupLayout, PlanesOfBlock, like_block
from flexc.numerics.lightnorm_truncation import truncate_minifloats
from flexc.numerics.minifloat import FP10A, round_block

_FLOAT32_MAX = float(np.finfo(np.float32).max)
# More than the rounding errors of the fp32 operations that a bound foresees.
_SLACK = 1.001

LoadBlock = Callable[[Block, PlanesOfBlock], float]
"""Puts quantized x into the planes and returns a bound of its magnitudes."""


@dataclass(frozen=True)
class AffineConstants:
    """Vectors [C]: xhat = FP10A((x - mean) * scale) and y = bfp10(FP10A(xhat * gamma_q + beta))."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    gamma_q: NDArray[np.float32]
    beta: NDArray[np.float32]
    prepared: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    """What kernels made of the vectors, by the layout they made it for."""

    @cached_property
    def _largest(self) -> tuple[float, ...]:
        vectors = (self.mean, self.scale, self.gamma_q, self.beta)
        return tuple(float(np.abs(vector).max(initial=0)) for vector in vectors)

    def bounds(self, x: float) -> tuple[float, float]:
        """The largest magnitudes of xhat and y before their roundings, for magnitudes up to x."""
        mean, scale, gamma_q, beta = self._largest
        xhat = (x + mean) * scale * _SLACK
        return xhat, (min(xhat, FP10A.largest) * gamma_q + beta) * _SLACK

    @cached_property
    def stay_finite(self) -> bool:
        """Whether no value of FP10A can overflow on its way to y."""
        return max(self.bounds(FP10A.largest)) <= _FLOAT32_MAX


def normalize_blocks(
    layout: GroupLayout,
    load: LoadBlock,
    constants: AffineConstants,
    nearest: bool,
    *,
    y: NDArray[np.float32],
    xhat: NDArray[np.float32] | None = None,
) -> None:
    """Fill y, and xhat when wanted, both [outer, C, inner]; the constants must :meth:`stay_finite`."""
    scratch = BlockScratch(layout)
    vectors = (constants.mean, constants.scale, constants.gamma_q, constants.beta)
    for groups in layout.group_runs():
        spread = layout.spread(vectors, groups)
        for block in layout.blocks(groups):
            memory = scratch.cut(block)
            planes = memory.planes
            mean, scale, gamma_q, beta = like_block(spread, planes)
            xhat_bound, y_bound = constants.bounds(load(block, memory))
            np.subtract(planes, mean, out=planes)
            np.multiply(planes, scale, out=planes)
            round_block(planes, memory.work, FP10A, nearest, xhat_bound)
            if xhat is not None:
                layout.store(planes, block, xhat)
            np.multiply(planes, gamma_q, out=planes)
            np.add(planes, beta, out=planes)
            round_block(planes, memory.work, FP10A, nearest, y_bound)
            truncate_minifloats(memory, FP10A, FORWARD_BITS)
            layout.store(planes, block, y)
