"""Bounds that a model is held to before anything is allocated for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from flexc.diagnostics import Place, error

MODEL_FILE_BYTES = 2**31 - 1
"""What one protobuf message can hold; larger models keep their weights in external data."""

TENSOR_ELEMENTS = 2**31 - 1
"""Elements of any tensor of a model: 8 GiB of fp32."""

TENSOR_RANK = 32
"""Dimensions of any tensor."""

FOLDED_ELEMENTS = 2**16
"""Elements of a constant that the importer computes on the way; larger ones are left to constant folding."""

COMPUTED_ELEMENTS = 2**24
"""Elements of a constant that only the importer can compute: 128 MiB of integers."""


def require_tensor_fits(shape: Sequence[int], place: Place, subject: str) -> None:
    """CompileError FX106 for more than ``TENSOR_ELEMENTS`` elements or ``TENSOR_RANK`` dimensions."""
    if len(shape) > TENSOR_RANK:
        raise error(
            "FX106",
            f"{subject} has rank {len(shape)}",
            place=place,
            hint=f"a tensor may have at most {TENSOR_RANK} dimensions",
        )
    _require_at_most(TENSOR_ELEMENTS, shape, place, subject, "a tensor")


def require_computed_fits(shape: Sequence[int], place: Place, subject: str) -> None:
    """CompileError FX106 for more than ``COMPUTED_ELEMENTS`` elements."""
    _require_at_most(COMPUTED_ELEMENTS, shape, place, subject, "a constant computed at import")


def _require_at_most(limit: int, shape: Sequence[int], place: Place, subject: str, kind: str) -> None:
    elements = prod(shape)
    if elements > limit:
        raise error(
            "FX106",
            f"{subject} has {elements} elements",
            place=place,
            detail=f"shape {list(shape)}",
            hint=f"{kind} may hold at most {limit} elements",
        )
