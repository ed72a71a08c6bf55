"""The schedule of a program: what each group of ops does, and when, on the target's clock.

Cycles, bytes and instructions are those of the timing simulation of the instruction stream. The figures of a
contraction alone (utilization, energy) are closed forms of its mapping. Every rate and energy behind them is
an assumption of the target. docs/schemas/schedule.json describes the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xdsl.ir import Operation

from flexc.backends.stream.program import Stream
from flexc.backends.stream.timing import GroupTiming, simulate
from flexc.cost.clock import estimate
from flexc.cost.energy import contraction_energy_pj
from flexc.ir import bfp
from flexc.ir.attributes import SourceAttr
from flexc.ir.mapping import MappingAttr
from flexc.ir.placement import group_of
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.mapping.from_ir import problem_of
from flexc.passes.map_contractions import MAPPING
from flexc.target import Target

SCHEMA = "flexc.schedule"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ContractionSchedule:
    """One contraction of a group: the variable of its result, its mapping, and estimates of it alone.

    ``utilization`` is the share of the multipliers at work while the cores compute, ``limit`` what costs
    most of the rest; ``multiplier_cycles`` counts multipliers at work over all cycles.
    """

    result: str
    mapping: str
    macs: int
    multiplier_cycles: int
    utilization: float
    limit: str
    energy_pj: float


@dataclass(frozen=True)
class GroupSchedule:
    """A scheduled group: the names of its ONNX nodes, its cycles in the program, its traffic with DRAM."""

    index: int
    kind: str
    nodes: tuple[str, ...]
    contractions: tuple[ContractionSchedule, ...]
    start_cycle: int
    end_cycle: int
    busy_cycles: Mapping[str, int]
    macs: int
    read_bytes: int
    written_bytes: int
    instructions: int


@dataclass(frozen=True)
class Schedule:
    """A whole program on ``target``; utilization is that of its multipliers.

    ``spatial_utilization`` counts the cycles in which the cores compute, ``end_to_end_utilization`` all.
    """

    target: str
    clock_mhz: float
    cycles: int
    milliseconds: float
    spatial_utilization: float
    end_to_end_utilization: float
    busy_cycles: Mapping[str, int]
    macs: int
    read_bytes: int
    written_bytes: int
    instructions: int
    groups: tuple[GroupSchedule, ...]

    def to_json(self) -> str:
        """The text of schedule.json."""
        versions = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
        return json.dumps({**versions, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """The schedule that :meth:`to_json` wrote; KeyError or TypeError for anything else."""
        found: dict[str, Any] = json.loads(text)
        del found["schema"], found["schema_version"]
        return cls(**{**found, "groups": tuple(_group_from_json(group) for group in found["groups"])})


def schedule_of(graph: Graph, stream: Stream, target: Target) -> Schedule:
    """The schedule of a graph that was allocated for ``target``, and its stream; simulates the timing."""
    timeline = simulate(stream, target)
    ops = _ops_by_group(graph)
    contractions = _contractions(graph, target)
    groups = tuple(_group(timing, ops[timing.index], contractions) for timing in timeline.groups)
    working = sum(one.multiplier_cycles for group in groups for one in group.contractions)
    computing = timeline.busy["cores"] * target.multipliers
    return Schedule(
        target=target.name,
        clock_mhz=target.clock_mhz,
        cycles=timeline.cycles,
        milliseconds=timeline.cycles / (target.clock_mhz * 1e3),
        spatial_utilization=working / computing if computing else 0.0,
        end_to_end_utilization=working / (timeline.cycles * target.multipliers) if timeline.cycles else 0.0,
        busy_cycles={str(engine): busy for engine, busy in timeline.busy.items()},
        macs=timeline.macs,
        read_bytes=timeline.read_bytes,
        written_bytes=timeline.written_bytes,
        instructions=timeline.instructions,
        groups=groups,
    )


def _ops_by_group(graph: Graph) -> dict[int, list[Operation]]:
    found: dict[int, list[Operation]] = {}
    for op in graph.main.body.block.ops:
        group = group_of(op)
        if group is not None:
            found.setdefault(group.index, []).append(op)
    return found


def _contractions(graph: Graph, target: Target) -> dict[Operation, ContractionSchedule]:
    names = value_names(graph.main)
    found: dict[Operation, ContractionSchedule] = {}
    for op in graph.main.body.block.ops:
        if not isinstance(op, bfp.ConvOp | bfp.MatMulOp):
            continue
        attribute = op.attributes[MAPPING]
        assert isinstance(attribute, MappingAttr)
        problem, mapping = problem_of(op), attribute.data
        cost = estimate(problem, mapping, target)
        shape = target.pe_shape(problem.a_bits, problem.b_bits)
        found[op] = ContractionSchedule(
            result=names[op.out],
            mapping=str(mapping),
            macs=problem.macs,
            multiplier_cycles=problem.macs * shape.multipliers_per_mac,
            utilization=cost.utilization.spatial,
            limit=cost.utilization.limit,
            energy_pj=contraction_energy_pj(problem, mapping, target, cost),
        )
    return found


def _group(
    timing: GroupTiming, ops: list[Operation], contractions: dict[Operation, ContractionSchedule]
) -> GroupSchedule:
    kinds = {group.kind for op in ops if (group := group_of(op)) is not None}
    (kind,) = kinds
    sources = [op.attributes.get("source") for op in ops]
    nodes = dict.fromkeys(source.node_name.data for source in sources if isinstance(source, SourceAttr))
    return GroupSchedule(
        index=timing.index,
        kind=kind,
        nodes=tuple(nodes),
        contractions=tuple(contractions[op] for op in ops if op in contractions),
        start_cycle=timing.start,
        end_cycle=timing.end,
        busy_cycles={str(engine): use.busy for engine, use in timing.engines.items()},
        macs=timing.macs,
        read_bytes=timing.read_bytes,
        written_bytes=timing.written_bytes,
        instructions=timing.instructions,
    )


def _group_from_json(found: dict[str, Any]) -> GroupSchedule:
    contractions = tuple(ContractionSchedule(**one) for one in found["contractions"])
    return GroupSchedule(**{**found, "nodes": tuple(found["nodes"]), "contractions": contractions})
