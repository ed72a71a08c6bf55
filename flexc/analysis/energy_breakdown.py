"""Where the energy of a program goes, by group and component.

Contractions are closed forms of their mappings; DRAM is what the simulation moved. Converter, vector unit and
LightNorm unit are left out. Every energy is the target's assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from flexc.cost.clock import estimate
from flexc.cost.energy import contraction_energy, dram_energy
from flexc.ir.mapping import Mapping as LoopNest
from flexc.ir.placement import group_of
from flexc.ir.program import Graph
from flexc.mapping.problem import ContractionProblem
from flexc.passes.map_contractions import mappings_of, problems_of
from flexc.schedule import Schedule
from flexc.scheduling import CONTRACTIONS
from flexc.target.machine import Target

COMPONENTS = {
    "multipliers": "multipliers",
    "integer_adders": "integer adders",
    "integer_accumulators": "integer accumulators",
    "fp32_adders": "fp32 adders",
    "operand_registers": "operand registers",
    "streamed_lines": "streamed lines",
    "held_values": "held values",
    "accumulators": "accumulators",
    "transfer_buffers": "buffers of transfers",
    "dram": "DRAM",
}
"""Fields of :class:`~flexc.cost.energy.ContractionEnergy` in words."""


def energy_breakdown(graph: Graph, schedule: Schedule, target: Target) -> dict[int, Mapping[str, float]]:
    """For each group of the schedule of ``graph``, pJ by the keys of ``COMPONENTS``."""
    found = {group.index: dict.fromkeys(COMPONENTS, 0.0) for group in schedule.groups}
    for index, contractions in mappings_by_group(graph).items():
        for problem, mapping in contractions:
            cost = estimate(problem, mapping, target)
            for name, energy in asdict(contraction_energy(problem, mapping, target, cost)).items():
                found[index][name] += energy
    for group in schedule.groups:
        moved = group.read_bytes + group.written_bytes
        transfers = dram_energy(target, moved)
        found[group.index]["dram"] = transfers.dram
        found[group.index]["transfer_buffers"] = transfers.buffers
    return dict(found)


def mappings_by_group(graph: Graph) -> dict[int, list[tuple[ContractionProblem, LoopNest]]]:
    """The contractions of each scheduled group that has any, in the order of the schedule."""
    found: dict[int, list[tuple[ContractionProblem, LoopNest]]] = {}
    for op in graph.main.body.block.ops:
        placed = group_of(op)
        if placed is not None and isinstance(op, CONTRACTIONS):
            found.setdefault(placed.index, []).extend(zip(problems_of(op), mappings_of(op), strict=True))
    return found
