"""The weight-stationary systolic grid.

A fold of T streamed rows takes rows (loading weights, unless they are double-buffered) + rows + columns + T
- 2 cycles (machine description, "Baselines"). Convolution groups that fit the grid together lie in it as
blocks on a diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy import maximum, minimum

from flexc.cost.baselines.folds import Extent


@dataclass(frozen=True)
class WeightStationaryFolds:
    """A grid of ``rows`` by ``columns``; ``passes`` runs of a fold where operands exceed a multiplier."""

    rows: int
    columns: int
    weight_double_buffer: bool
    passes: int = 1

    @property
    def overhead_cycles(self) -> int:
        """Loading weights, unless hidden, and the skew of rows and columns."""
        loading = 0 if self.weight_double_buffer else self.rows
        return loading + self.rows + self.columns - 2

    @property
    def row_cycles(self) -> int:
        """One row a cycle."""
        return 1

    def folds(self, groups: Extent, reduced: Extent, outputs: Extent) -> Extent:
        """Folds of ``reduced`` over the rows and of ``outputs`` over the columns."""
        side_by_side = maximum(1, minimum(self.rows // reduced, self.columns // outputs))
        of_group = -(-reduced // self.rows) * -(-outputs // self.columns)
        found: Extent = -(-groups // side_by_side) * of_group * self.passes
        return found
