"""What the machine would spend on a training step, by its schedule."""

from __future__ import annotations

from dataclasses import dataclass

from flexc.backends.stream.emit import emit_stream
from flexc.diagnostics import CompileError
from flexc.ir.program import Graph
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import machine_pipeline
from flexc.scheduling import schedule_of
from flexc.target import load_target
from flexc.training.step import StepPrograms


@dataclass(frozen=True)
class MachineCost:
    """Cycles of a program, and its energy in pJ."""

    cycles: int
    energy_pj: float


def machine_cost(graph: Graph, target_name: str) -> MachineCost | None:
    """The cost of one run of ``graph`` on a target; None where its schedule does not fit the machine.

    The graph is one that the executor takes. It stays as it is: a step trains on the executor whether or not
    the machine has room for it. Raises CompileError (FX401 to FX404) for a target that is wrong.
    """
    target = load_target(target_name)
    mapped = graph.copy()
    try:
        run_pipeline(mapped, machine_pipeline(target_name))
    except CompileError:
        return None
    schedule = schedule_of(mapped, emit_stream(mapped, target), target)
    return MachineCost(schedule.cycles, schedule.energy_pj)


def cost_of_step(programs: StepPrograms, target_name: str) -> MachineCost | None:
    """The cost of all runs that make a step; None where one of the programs does not fit the machine."""
    main = machine_cost(programs.main.graph, target_name)
    if main is None or programs.update is None:
        return main
    update = machine_cost(programs.update.graph, target_name)
    if update is None:
        return None
    count = programs.micro_batches
    return MachineCost(count * main.cycles + update.cycles, count * main.energy_pj + update.energy_pj)
