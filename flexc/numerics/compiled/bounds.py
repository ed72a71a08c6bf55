"""Cutting to bounds, which relu is too (numerics specification, section 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexc.numerics.compiled.jit import kernel


@kernel
def cut(x: Any, least: Any, largest: Any, result: Any) -> None:
    """min(max(x, least), largest) of flat x, zeros as +0; bounds that are missing are infinite."""
    for i in range(x.size):
        value = x[i]
        value = least if value < least else value
        value = largest if value > largest else value
        result[i] = value + np.float32(0)
