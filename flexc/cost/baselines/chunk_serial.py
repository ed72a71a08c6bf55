"""The chunk-serial grid: systolic, each cell sums a group of products, one pair of chunks a cycle."""

from __future__ import annotations

from dataclasses import dataclass

from flexc.cost.baselines.folds import Extent
from flexc.cost.baselines.weight_stationary import WeightStationaryFolds
from flexc.target.baseline import ChunkSerial


@dataclass(frozen=True)
class ChunkSerialFolds:
    """``chunk_pairs`` cycles a streamed row: the chunks of one operand times those of the other."""

    array: ChunkSerial
    chunk_pairs: int

    @property
    def overhead_cycles(self) -> int:
        """That of the grid of cells."""
        return self._grid.overhead_cycles

    @property
    def row_cycles(self) -> int:
        """Each pair of chunks is a cycle."""
        return self.chunk_pairs

    def folds(self, groups: Extent, reduced: Extent, outputs: Extent) -> Extent:
        """Folds of groups of products over the cells."""
        return self._grid.folds(groups, -(-reduced // self.array.products_per_cell), outputs)

    @property
    def _grid(self) -> WeightStationaryFolds:
        return WeightStationaryFolds(self.array.rows, self.array.columns, self.array.weight_double_buffer)
