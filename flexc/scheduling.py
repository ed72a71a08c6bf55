"""Builds the schedule of an allocated graph from its stream: timing, traffic by tensor, buffers, mappings."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from math import prod

from xdsl.ir import Operation, SSAValue

from flexc.backends.stream.isa import NO_SLOT, OPCODES, Opcode, Space
from flexc.backends.stream.program import GroupRange, Stream
from flexc.backends.stream.timeline import GroupTiming, Timeline
from flexc.backends.stream.timing import simulate
from flexc.cost.clock import estimate
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.dram_use import dram_use, format_text, node_schedule, quantizations
from flexc.group_energy import group_energy
from flexc.ir import bfp
from flexc.ir.attributes import SourceAttr
from flexc.ir.bfp import BlockTensorType
from flexc.ir.mapping import DIMS, Mapping
from flexc.ir.placement import (
    ARGUMENT_PLACEMENTS,
    TABLE,
    Placement,
    group_of,
    placement_of,
    placements_in,
    result_placements,
)
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.ir.value_names import value_names
from flexc.mapping.from_gradients import ConvGradientOp
from flexc.mapping.from_ir import ContractionOp
from flexc.mapping.loops import dram_loops, lanes_at_work, units_at_work
from flexc.mapping.problem import ContractionProblem
from flexc.passes.allocate import base_of
from flexc.passes.differentiation.training_passes import step_parts
from flexc.passes.map_contractions import mappings_of, problems_of
from flexc.schedule import (
    BufferUse,
    ContractionSchedule,
    EngineSchedule,
    GroupSchedule,
    LoopLevel,
    Schedule,
    TensorTraffic,
)
from flexc.target import Target
from flexc.target.machine import PeShape

BUSY_SHARE = 0.5
"""Share of a group's cycles below which the busiest engine does not bound it: dependencies and latency do."""

ENGINE_LIMITS = {
    "dma_in": "DRAM",
    "dma_out": "DRAM",
    "converter": "converter",
    "vector": "vector unit",
    "lightnorm": "LightNorm unit",
}


def schedule_of(graph: Graph, stream: Stream, target: Target) -> Schedule:
    """The schedule of a graph that was allocated for ``target``, and its stream; simulates the timing."""
    timeline = simulate(stream, target)
    builder = _Builder(graph, stream, target, timeline)
    groups = tuple(
        builder.group(timing, records) for timing, records in zip(timeline.groups, stream.groups, strict=True)
    )
    working = sum(one.multiplier_cycles for group in groups for one in group.contractions)
    computing = timeline.busy["cores"] * target.multipliers
    return Schedule(
        target=target.name,
        clock_mhz=target.clock_mhz,
        cycles=timeline.cycles,
        milliseconds=timeline.cycles / (target.clock_mhz * 1e3),
        spatial_utilization=working / computing if computing else 0.0,
        end_to_end_utilization=_share(working, timeline.cycles, target),
        busy_cycles={str(engine): busy for engine, busy in timeline.busy.items()},
        macs=timeline.macs,
        read_bytes=timeline.read_bytes,
        written_bytes=timeline.written_bytes,
        instructions=timeline.instructions,
        energy_by_component_pj=sum((group.energy_by_component_pj for group in groups), EnergyBreakdown()),
        dram=dram_use(graph, builder.names, builder.placements, target),
        groups=groups,
    )


def _share(multiplier_cycles: int, cycles: int, target: Target) -> float:
    return multiplier_cycles / (cycles * target.multipliers) if cycles else 0.0


class _Builder:
    def __init__(self, graph: Graph, stream: Stream, target: Target, timeline: Timeline) -> None:
        self.stream = stream
        self.target = target
        self.timeline = timeline
        self.names = value_names(graph.main)
        self.parts = step_parts(graph)
        self.opcodes = [Opcode(code) for code in stream.records["opcode"].tolist()]
        self.operand_slots: list[list[int]] = stream.records["operand"]["slot"].tolist()
        self.declared_at: dict[int, list[int]] = {}
        self.addresses: dict[int, list[int]] = {}
        """By slot register: the records that declare it, in order, and the addresses that they give it."""
        registers, addresses = stream.records["slot"].tolist(), stream.records["address_bytes"].tolist()
        for index, opcode in enumerate(self.opcodes):
            if opcode is Opcode.SLOT:
                self.declared_at.setdefault(registers[index], []).append(index)
                self.addresses.setdefault(registers[index], []).append(addresses[index])
        block = graph.main.body.block
        arguments = placements_in(graph.main.attributes.get(ARGUMENT_PLACEMENTS))
        self.placements: dict[SSAValue, Placement] = dict(zip(block.args, arguments, strict=True))
        self.ops: dict[int, list[Operation]] = {}
        for op in block.ops:
            for value, placement in zip(op.results, result_placements(op), strict=False):
                if placement is not None:
                    self.placements[value] = placement
            group = group_of(op)
            if group is not None:
                self.ops.setdefault(group.index, []).append(op)

    def group(self, timing: GroupTiming, records: GroupRange) -> GroupSchedule:
        """The schedule of one group from its timing and its records."""
        ops = self.ops[timing.index]
        group = group_of(ops[0])
        assert group is not None
        contractions = tuple(
            one for op in ops if isinstance(op, bfp.CONTRACTIONS) for one in self._contractions(op)
        )
        working = sum(one.multiplier_cycles for one in contractions)
        # A quantization comes from the node that reads it, which has a group of its own.
        computing = [op for op in ops if not isinstance(op, bfp.QuantizeOp)]
        sources = [op.attributes.get("source") for op in computing or ops]
        nodes = dict.fromkeys(source for source in sources if isinstance(source, SourceAttr))
        return GroupSchedule(
            index=timing.index,
            kind=group.kind,
            step_part=self.parts[(computing or ops)[0]],
            ops=tuple(op.name for op in ops),
            nodes=tuple(node_schedule(node) for node in nodes),
            contractions=contractions,
            quantizations=tuple(quantizations(ops, self.names, self.placements)),
            start_cycle=timing.start,
            end_cycle=timing.end,
            engines={
                str(engine): EngineSchedule(use.start, use.end, use.busy)
                for engine, use in timing.engines.items()
            },
            macs=timing.macs,
            end_to_end_utilization=_share(working, timing.end - timing.start, self.target),
            limit=_limit(timing, contractions),
            traffic=tuple(self._traffic(ops, records)),
            buffers=tuple(self._buffers(records)),
            read_bytes=timing.read_bytes,
            written_bytes=timing.written_bytes,
            instructions=timing.instructions,
            energy_by_component_pj=group_energy(ops, timing, self.target),
        )

    def _contractions(self, op: ContractionOp | ConvGradientOp) -> Iterator[ContractionSchedule]:
        for problem, mapping in zip(problems_of(op), mappings_of(op), strict=True):
            yield self._contraction(op, problem, mapping)

    def _contraction(
        self, op: ContractionOp | ConvGradientOp, problem: ContractionProblem, mapping: Mapping
    ) -> ContractionSchedule:
        cost = estimate(problem, mapping, self.target)
        shape = self.target.pe_shape(problem.a_bits, problem.b_bits)
        a, b = op.operands[0].type, op.operands[1].type
        if isinstance(op, bfp.ConvWeightGradOp):
            a, b = op.x.type, op.g.type
        role = role_of(op)
        assert isinstance(a, BlockTensorType)
        assert isinstance(b, BlockTensorType)
        return ContractionSchedule(
            result=self.names[op.out],
            formats=(format_text(a), format_text(b)),
            extents={dim: problem.extent(dim) for dim in DIMS},
            mapping=str(mapping),
            levels=tuple(_levels(problem, mapping, shape, self.target)),
            macs=problem.macs,
            multiplier_cycles=problem.macs * shape.multipliers_per_mac,
            utilization=cost.utilization.spatial,
            limit=cost.utilization.limit,
            layer="" if role is None else role.layer.data,
            training_pass="forward" if role is None else role.training_pass.data,
        )

    def _traffic(self, ops: Sequence[Operation], records: GroupRange) -> Iterator[TensorTraffic]:
        names = self._names_by_address(ops)
        found: dict[str, list[int]] = {}
        for index in range(records.first_record, records.end_record):
            moved = self.timeline.record_bytes.get(index, 0)
            if not moved:
                continue
            opcode = self.opcodes[index]
            written = opcode is Opcode.STORE
            operand = OPCODES[opcode].operands.index("dst" if written else "src")
            register = self.operand_slots[index][operand]
            name = names[self.addresses[register][bisect(self.declared_at[register], index) - 1]]
            found.setdefault(name, [0, 0])[written] += moved
        for name, (read, write) in found.items():
            yield TensorTraffic(name, read, write)

    def _names_by_address(self, ops: Sequence[Operation]) -> dict[int, str]:
        found: dict[int, str] = {}
        for op in ops:
            table = placement_of(op, TABLE)
            named = [(base_of(value), self.names[base_of(value)]) for value in (*op.operands, *op.results)]
            placed = [(self.placements[value], name) for value, name in named if value in self.placements]
            if table is not None:
                placed.append((table, f"{self.names[op.results[0]]} constants"))
            for placement, name in placed:
                for plane in placement.planes:
                    assert plane.address_bytes is not None
                    found[plane.address_bytes] = name
        return found

    def _buffers(self, records: GroupRange) -> Iterator[BufferUse]:
        inside = range(records.first_record, records.end_record)
        roles: dict[int, str] = {}
        for index in inside:
            names = OPCODES[self.opcodes[index]].operands
            for name, slot in zip(names, self.operand_slots[index], strict=False):
                if slot != NO_SLOT and roles.get(slot, "dst") in ("dst", "src"):
                    roles[slot] = name
        for index in inside:
            if self.opcodes[index] is not Opcode.SLOT:
                continue
            record = self.stream.records[index]
            if record["space"] != Space.DRAM:
                yield BufferUse(
                    memory=Space(int(record["space"])).name.lower(),
                    size_bytes=int(record["size_bytes"]),
                    depth=int(record["depth"]),
                    per_core=bool(record["per_core"]),
                    holds=roles.get(int(record["slot"]), ""),
                )


def _limit(timing: GroupTiming, contractions: Sequence[ContractionSchedule]) -> str:
    engine, use = max(timing.engines.items(), key=lambda item: item[1].busy)
    if use.busy < BUSY_SHARE * (timing.end - timing.start):
        return "latency"
    if engine == "cores":
        # A dequantization runs on one core and maps nothing.
        return contractions[0].limit if contractions else "core"
    return ENGINE_LIMITS[engine]


def _levels(
    problem: ContractionProblem, mapping: Mapping, shape: PeShape, target: Target
) -> Iterator[LoopLevel]:
    dram = ", ".join(f"{loop.dim} {loop.trips}" for loop in dram_loops(problem, mapping) if loop.trips > 1)
    yield LoopLevel("DRAM", dram, False)
    cores, pes = (prod(one.factor for one in factors) for factors in (mapping.cores, mapping.pes))
    yield LoopLevel("core", ", ".join(map(str, mapping.cores)), True, cores, target.cores)
    tile = zip(DIMS, mapping.tile, strict=True)
    yield LoopLevel("buffer tile", ", ".join(f"{dim} {extent}" for dim, extent in tile if extent > 1), False)
    yield LoopLevel("PE", ", ".join(map(str, mapping.pes)), True, pes, target.pes_per_core)
    yield LoopLevel("unit", str(mapping.unit), True, units_at_work(mapping), shape.units)
    yield LoopLevel("lane", str(mapping.lane), True, lanes_at_work(problem, mapping), shape.lanes)
