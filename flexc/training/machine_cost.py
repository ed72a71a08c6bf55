"""What the machine would spend on a training step, by its schedule."""

from __future__ import annotations

from dataclasses import dataclass

from flexc.diagnostics import CompileError
from flexc.program import Program


@dataclass(frozen=True)
class MachineCost:
    """Cycles of a program, and the energy of its contractions in pJ."""

    cycles: int
    energy_pj: float


def machine_cost(program: Program) -> MachineCost | None:
    """The cost of one run of ``program``; None where it has no schedule."""
    try:
        schedule = program.schedule
    except CompileError:
        return None
    energy = sum(one.energy_pj for group in schedule.groups for one in group.contractions)
    return MachineCost(schedule.cycles, energy)
