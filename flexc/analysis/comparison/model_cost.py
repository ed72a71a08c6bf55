"""A model, or a training step of it, on one machine: the sums of its groups, by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from flexc.analysis.comparison.group_cost import Cost, group_programs
from flexc.analysis.comparison.machines import Machine
from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.workload import Workload
from flexc.cost.pipeline import EngineClock

CONTRACTION_PHASES = (Phase.FORWARD, Phase.LOCAL_GRAD, Phase.WEIGHT_GRAD)


@dataclass(frozen=True)
class ModelCost:
    """What a workload takes, phase by phase."""

    phases: Mapping[Phase, Cost]
    macs: int

    @property
    def total(self) -> Cost:
        """All phases."""
        return sum(self.phases.values(), Cost())

    def phase(self, phase: Phase) -> Cost:
        """One phase; nothing where the workload has none of it."""
        return self.phases.get(phase, Cost())


def model_cost(workload: Workload, machine: Machine) -> ModelCost:
    """The cost of ``workload``; CompileError where a contraction cannot run on ``machine``.

    The cycles of a group are those by which the end of the whole moves with it.
    """
    phases: dict[Phase, Cost] = {}
    clock, end = EngineClock(), 0
    for work in workload.groups:
        found = group_programs(work, machine)
        if found is None:
            continue
        clock.run(found.programs, work.number)
        started, end = end, ceil(clock.cycles)
        phases[work.phase] = phases.get(work.phase, Cost()) + found.cost(end - started)
    return ModelCost({phase: phases[phase] for phase in Phase if phase in phases}, workload.macs)
