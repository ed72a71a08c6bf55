"""The parts of a step that are reported by themselves."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """A part of a training step that is reported by itself."""

    FORWARD = "forward"
    LOCAL_GRAD = "local gradient"
    WEIGHT_GRAD = "weight gradient"
    BATCH_NORM = "batch norm"
    CONVERSION = "conversion"
    OTHER = "other"
