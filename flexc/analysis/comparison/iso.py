"""What is held equal between FlexBlock and a baseline (machine description, "Baselines")."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from flexc.analysis.comparison.machines import BaselineMachine
from flexc.cost.area import DatapathArea, baseline_area, flexblock_area, resized
from flexc.target.baseline import Baseline
from flexc.target.machine import Target

SHRINKING = 0.995
"""Steps in which a number of cells comes down until its grid fits."""


class Iso(StrEnum):
    """Equal area of the whole datapath, equal area of the multipliers, or each its own size."""

    DATAPATH = "datapath"
    MULTIPLIERS = "multipliers"
    NONE = "none"


def beside(baseline: Baseline, system: Target, iso: Iso) -> BaselineMachine:
    """The baseline with as many cells as ``iso`` gives it beside the FlexBlock target ``system``.

    Its array is the largest one that is no larger than FlexBlock's.
    """
    if iso is Iso.NONE:
        return BaselineMachine(baseline, system)

    def measured(area: DatapathArea) -> float:
        return area.total if iso is Iso.DATAPATH else area.multipliers

    room = measured(flexblock_area(system))
    cells = int(room / measured(baseline_area(_of_cells(baseline, 1), system.area)) * 64) or 1
    while cells > 1 and measured(baseline_area(_of_cells(baseline, cells), system.area)) > room:
        cells = min(cells - 1, int(cells * SHRINKING))
    return BaselineMachine(_of_cells(baseline, cells), system)


def _of_cells(baseline: Baseline, cells: int) -> Baseline:
    return replace(baseline, array=resized(baseline, cells))
