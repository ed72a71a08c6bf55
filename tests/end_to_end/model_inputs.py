"""Inputs that show wrong orders and wrong signs: magnitudes over 20 binades, zeros of both signs, seeded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

Array = npt.NDArray[Any]

LEAST_EXPONENT, GREATEST_EXPONENT = -17, 3
TOKENS = 1000
"""Integer inputs are indices of an embedding with so many rows."""


def inputs_of(model: onnx.ModelProto, seed: int = 0) -> dict[str, Array]:
    """An array for each input of a model whose shapes are all given."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, Array] = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        shape = tuple(extent.dim_value for extent in kind.shape.dim)
        found[value.name] = (
            rng.integers(-TOKENS, TOKENS, shape)
            if kind.elem_type == TensorProto.INT64
            else spread(rng, shape)
        )
    return found


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Normal samples times powers of two of 20 exponents; a tenth are zeros, half of them negative.

    The first channel's upper half is smooth and much larger than the rest, the last rows are all zero: groups
    see one large member, equal members, and none at all.
    """
    values = rng.standard_normal(shape) * np.exp2(rng.integers(LEAST_EXPONENT, GREATEST_EXPONENT, shape))
    sparse = rng.random(shape)
    values[sparse < 0.1] = 0.0
    values[sparse < 0.05] = -0.0
    if len(shape) == 4:
        rows = shape[2]
        values[:, 0, : rows // 2] = np.cos(np.arange(shape[3])) + 1.5
        values[:, :, rows - rows // 8 :] = 0.0
    return values.astype(np.float32)
