"""What an array says of itself: folds of the stationary operand, and the cycles of one."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.target.baseline import Array, ChunkSerial, ReductionTree

Extent = TypeVar("Extent", int, NDArray[np.int64])


class FoldModel(Protocol):
    """A tile is ``folds`` times ``overhead_cycles`` and, for each streamed row, ``row_cycles``.

    Extents may be integers or arrays of them.
    """

    @property
    def overhead_cycles(self) -> int:
        """Cycles of a fold beside its streamed rows: loading, filling and draining."""

    @property
    def row_cycles(self) -> int:
        """Cycles of one streamed row."""

    def folds(self, groups: Extent, reduced: Extent, outputs: Extent) -> Extent:
        """How often the array is filled for stationary ``[groups, reduced, outputs]``."""


def fold_model(array: Array, multiplications: int) -> FoldModel:
    """The closed form of ``array`` where a product takes ``multiplications`` of its own."""
    # Each array's file imports what this one declares.
    from flexc.cost.baselines.chunk_serial import ChunkSerialFolds
    from flexc.cost.baselines.reduction_tree import ReductionTreeFolds
    from flexc.cost.baselines.weight_stationary import WeightStationaryFolds

    if isinstance(array, ReductionTree):
        return ReductionTreeFolds(array.pes, multiplications)
    if isinstance(array, ChunkSerial):
        return ChunkSerialFolds(array, multiplications)
    return WeightStationaryFolds(array.rows, array.columns, array.weight_double_buffer, multiplications)
