"""Where the energy of a program goes, by group and component.

Contractions are closed forms of their mappings; DRAM is what the simulation moved; converter, vector unit and
LightNorm unit are the cycles that the simulation has them at work, on all of their lanes. Dequantizations,
which a core does, are left out. Every energy is the target's assumption.
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
from flexc.schedule import GroupSchedule, Schedule
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
    "converters": "converter",
    "vector": "vector unit",
    "lightnorm": "LightNorm unit",
}
"""Fields of :class:`~flexc.cost.energy.ContractionEnergy`, and the engines beside the cores, in words."""


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
        found[group.index] |= _of_engines(group, target)
    return dict(found)


def _of_engines(group: GroupSchedule, target: Target) -> dict[str, float]:
    """Energy of what a group does outside of the cores, from the cycles at work."""
    table = target.energy
    per_cycle = {
        "converters": target.converter_elements_per_cycle * table.converter_element_pj.value,
        "vector": target.vector_elements_per_cycle * table.vector_lane_cycle_pj.value,
        "lightnorm": target.lightnorm_elements_per_cycle * table.lightnorm_element_pj.value,
    }
    engines = {"converters": "converter", "vector": "vector", "lightnorm": "lightnorm"}
    return {
        name: group.engines[engine].busy_cycles * per_cycle[name] if engine in group.engines else 0.0
        for name, engine in engines.items()
    }


def mappings_by_group(graph: Graph) -> dict[int, list[tuple[ContractionProblem, LoopNest]]]:
    """The contractions of each scheduled group that has any, in the order of the schedule."""
    found: dict[int, list[tuple[ContractionProblem, LoopNest]]] = {}
    for op in graph.main.body.block.ops:
        placed = group_of(op)
        if placed is not None and isinstance(op, CONTRACTIONS):
            found.setdefault(placed.index, []).extend(zip(problems_of(op), mappings_of(op), strict=True))
    return found
