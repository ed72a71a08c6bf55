"""Bounds that a model is held to before anything is allocated for it."""

from __future__ import annotations

from math import prod

from flexc.diagnostics import Place, error

MODEL_FILE_BYTES = 2**31 - 1
"""What one protobuf message can hold; larger models keep their weights in external data."""

TENSOR_ELEMENTS = 2**31 - 1
"""Elements of any tensor of a model: 8 GiB of fp32."""

FOLDED_ELEMENTS = 2**16
"""Elements of a constant that the importer computes; larger ones are left to constant folding."""


def require_tensor_fits(shape: tuple[int, ...], place: Place, subject: str) -> None:
    """CompileError for a shape that holds more than ``TENSOR_ELEMENTS``."""
    elements = prod(shape)
    if elements > TENSOR_ELEMENTS:
        raise error(
            "FX106",
            f"{subject} has {elements} elements",
            place=place,
            detail=f"shape {list(shape)}",
            hint=f"a tensor may hold at most {TENSOR_ELEMENTS} elements",
        )
