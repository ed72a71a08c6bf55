"""PEs under a flexible reduction tree.

Stationary elements of any outputs lie side by side, so nothing is lost but the last partial fold (machine
description, "Baselines"). A sum passes one level of the tree a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexc.cost.baselines.folds import Extent


@dataclass(frozen=True)
class ReductionTreeFolds:
    """``pes`` PEs, loaded behind the rows of the fold before."""

    pes: int
    passes: int = 1

    @property
    def overhead_cycles(self) -> int:
        """The levels of the tree."""
        return (self.pes - 1).bit_length()

    @property
    def row_cycles(self) -> int:
        """One row a cycle."""
        return 1

    def folds(self, groups: Extent, reduced: Extent, outputs: Extent) -> Extent:
        """Folds of all stationary elements over the PEs."""
        found: Extent = -(-(groups * reduced * outputs) // self.pes) * self.passes
        return found
