"""Cycles, bytes, instructions and energy of one group of ops on one machine, in closed form.

A group is one tile program or several; engines run side by side within them and from one to the next
(:mod:`flexc.cost.pipeline`). All machines are counted so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from flexc.analysis.comparison.group_tiles import dequantized_tiles, norm_tiles, walk_tiles
from flexc.analysis.comparison.machines import ContractionCost, Machine
from flexc.analysis.comparison.norm_programs import norm_programs, unit_passes
from flexc.analysis.comparison.riding import contraction_room, normalizing, rides, summary_program
from flexc.analysis.comparison.staging import quantized_in_place
from flexc.analysis.comparison.tile_programs import (
    contraction_programs,
    copy_programs,
    dequantization_program,
    walk_program,
)
from flexc.analysis.comparison.transfers import EngineWork, Results, tensor_bits
from flexc.analysis.comparison.workload import (
    UNPLACED,
    BlockOperand,
    GroupWork,
    Norm,
    Statistics,
    StoredBy,
    Tensor,
)
from flexc.cost.energy import dram_energy, lane_energy
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.cost.pipeline import EngineClock, TileProgram

NORM_PASSES = {
    ("lightnorm", "forward"): 2,
    ("lightnorm", "normalize"): 1,
    ("lightnorm", "backward"): 2,
    ("fp32", "forward"): 3,
    ("fp32", "backward"): 2,
}
"""How often a batch norm reads its tensors where they do not stay on chip."""


@dataclass(frozen=True)
class Cost:
    """Cycles, of the cores too, bytes to and from DRAM, energy: of a group alone, or of several together."""

    cycles: int = 0
    compute_cycles: int = 0
    dram_bytes: int = 0
    energy: EnergyBreakdown = field(default_factory=EnergyBreakdown)
    instructions: int = 0
    """Instructions that the engines execute."""

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            self.cycles + other.cycles,
            self.compute_cycles + other.compute_cycles,
            self.dram_bytes + other.dram_bytes,
            self.energy + other.energy,
            self.instructions + other.instructions,
        )


@dataclass(frozen=True)
class GroupPrograms:
    """The tile programs of a group in their order, and what they take besides time."""

    programs: tuple[TileProgram, ...]
    compute_cycles: int
    dram_bytes: int
    energy: EnergyBreakdown

    def cost(self, cycles: int) -> Cost:
        """The cost of the group, which takes ``cycles``."""
        instructions = sum(program.instructions for program in self.programs)
        return Cost(cycles, self.compute_cycles, self.dram_bytes, self.energy, instructions)

    def __add__(self, other: GroupPrograms) -> GroupPrograms:
        """One after the other."""
        return GroupPrograms(
            self.programs + other.programs,
            self.compute_cycles + other.compute_cycles,
            self.dram_bytes + other.dram_bytes,
            self.energy + other.energy,
        )


def group_cost(work: GroupWork, machine: Machine) -> Cost | None:
    """The cost of a group alone; None where the machine has nothing to do."""
    found = group_programs(work, machine)
    if found is None:
        return None
    clock = EngineClock()
    clock.run(found.programs, work.number)
    return found.cost(ceil(clock.cycles))


def group_programs(work: GroupWork, machine: Machine) -> GroupPrograms | None:
    """What a group runs; None where the machine has nothing to do (a conversion it does without)."""
    converted = {
        place: one for place, one in enumerate(work.quantized) if machine.operand_bits(one) is not None
    }
    if work.quantized and not (converted or work.problems or work.vector or work.writes or work.norm):
        return None
    if work.carrier is not None and rides(work.carrier, machine):
        work = normalizing(work)
    if not work.problems:
        # What is not quantized is stored as it is.
        extra = work.stored_unquantized if len(converted) < len(work.quantized) else ()
        return _plain(work, machine, _results(work, converted, extra))
    contractions = [machine.contraction(problem) for problem in work.problems]
    buffers, statistics = contraction_room(work, machine)
    if statistics is not None:
        # Each tile passes LightNorm's unit on its way out.
        work = replace(work, lightnorm_elements=work.lightnorm_elements + statistics.norm.elements)
    operands = list(converted.values())
    in_place = quantized_in_place(work.problems[0], contractions[0], operands, buffers, machine)
    apart = {place: one for (place, one), here in zip(converted.items(), in_place, strict=True) if not here}
    fused = {place: one for place, one in converted.items() if place not in apart}
    extra = work.stored_unquantized if len(fused) < len(work.quantized) else ()
    found = _with_contractions(work, machine, contractions, _results(work, fused, extra))
    if statistics is not None:
        found += _summary(statistics, contractions[0], machine)
    for place, operand in apart.items():
        # The result is stored, read again and converted in a program of its own.
        read = replace((*work.stored_unquantized, *work.writes)[0], stored_by=StoredBy(work.number, UNPLACED))
        again = GroupWork(
            work.phase,
            work.layer,
            work.number,
            reads=(read,),
            walk=work.converted_apart[place],
            quantized=(operand,),
        )
        found += _plain(again, machine, Results((operand,), (), (2 * place,)))
    return found


def _results(work: GroupWork, quantized: Mapping[int, BlockOperand], extra: Sequence[Tensor]) -> Results:
    """What a program stores of a group."""
    first = 2 * len(work.quantized)
    places = [2 * place for place in quantized] + [first + at for at in range(len(work.writes))]
    return Results(tuple(quantized.values()), (*work.writes, *extra), (*places, *(UNPLACED for _ in extra)))


def _summary(statistics: Statistics, contraction: ContractionCost, machine: Machine) -> GroupPrograms:
    """Vectors of the channels, behind the tiles whose statistics they are."""
    bits = sum(tensor_bits(one, machine) for one in (statistics.gamma, *statistics.vectors))
    moved = ceil(bits / 8)
    program = summary_program(statistics, contraction, machine)
    return GroupPrograms((program,), 0, moved, dram_energy(machine.system, moved))


def _plain(work: GroupWork, machine: Machine, results: Results) -> GroupPrograms:
    if work.dequantized is not None:
        return _dequantized(work, work.dequantized, machine, results)
    if work.walk is not None:
        tiles = walk_tiles(work, work.walk, machine, results.quantized)
        engines = _engines(work, machine, results, tiles.elements)
        programs: tuple[TileProgram, ...] = (walk_program(work, work.walk, tiles, machine, engines, results),)
    else:
        engines = _engines(work, machine, results, _elements_read(work, machine))
        if work.norm is None:
            programs = tuple(copy_programs(work, machine))
        else:
            passes = norm_reads(work.norm, machine)
            programs = tuple(norm_programs(work, work.norm, machine, engines, passes))
    moved = engines.read_bytes + engines.written_bytes
    return GroupPrograms(programs, 0, moved, engines.energy + dram_energy(machine.system, moved))


def _dequantized(work: GroupWork, operand: BlockOperand, machine: Machine, results: Results) -> GroupPrograms:
    assert work.walk is not None
    tiles = dequantized_tiles(work.walk, operand, machine.system)
    found = machine.dequantization(operand, tiles)
    program = dequantization_program(operand, tiles, found, machine, results)
    written = sum(tensor.elements * machine.tensor_bits(tensor) for tensor in results.plain)
    moved = ceil((machine.operand_bits(operand) or 0) / 8) + found.constants + ceil(written / 8)
    energy = found.energy + dram_energy(machine.system, moved)
    return GroupPrograms((program,), found.cycles, moved, energy)


def _with_contractions(
    work: GroupWork, machine: Machine, contractions: Sequence[ContractionCost], results: Results
) -> GroupPrograms:
    """Contractions one after the other, their results stored and worked on as they come."""
    engines = _engines(work, machine, results, _elements_read(work, machine))
    programs = tuple(contraction_programs(work, machine, contractions, engines, results))
    compute = sum(one.compute_cycles for one in contractions)
    load_bytes = sum(one.operands.a_bytes + one.operands.b_bytes for one in contractions)
    # Values of the channels are read again with every sweep over them.
    load_bytes += engines.read_bytes * sum(one.operands.channel_sweeps for one in contractions)
    moved = load_bytes + engines.written_bytes
    energy = sum((one.energy for one in contractions), engines.energy)
    return GroupPrograms(programs, compute, moved, energy + dram_energy(machine.system, moved))


def _elements_read(work: GroupWork, machine: Machine) -> list[int]:
    """Elements of each of the reads of a group that walks nothing."""
    return [one.elements * tensor_reads(one, work.norm, machine) for one in work.reads]


def _engines(work: GroupWork, machine: Machine, results: Results, elements: Sequence[int]) -> EngineWork:
    """``elements`` are those that are read of each of the group's reads."""
    system = machine.system
    read_bits = sum(
        count * machine.tensor_bits(tensor) for tensor, count in zip(work.reads, elements, strict=True)
    )
    written_bits = sum(tensor.elements * machine.tensor_bits(tensor) for tensor in results.plain)
    written_bits += sum(machine.operand_bits(one) or 0 for one in results.quantized)
    converted = sum(one.elements for one in results.quantized)
    lane_cycles = sum(
        elements * system.vector_cycles.cycles_of(function) for function, elements in work.vector
    )
    through_unit = work.lightnorm_elements
    if work.norm is not None and work.norm.kind == "lightnorm":
        through_unit += work.norm.elements * unit_passes(work, work.norm, system)
    return EngineWork(
        read_bytes=ceil(read_bits / 8),
        written_bytes=ceil(written_bits / 8),
        vector=ceil(lane_cycles / system.vector_elements_per_cycle),
        converter=ceil(converted / system.converter_elements_per_cycle),
        lightnorm=ceil(through_unit / system.lightnorm_elements_per_cycle),
        energy=lane_energy(
            system, vector_cycles=lane_cycles, converted=converted, through_lightnorm=through_unit
        ),
    )


def tensor_reads(tensor: Tensor, norm: Norm | None, machine: Machine) -> int:
    """How often a group reads a tensor: a batch norm those that it passes over as often as it does.

    LightNorm's backward pass needs its own normalized values, of ten bits, for the sums alone.
    """
    if norm is None or tensor.elements < norm.elements:
        return 1
    if norm.kind == "lightnorm" and norm.direction == "backward" and tensor.storage == "fp10":
        return 1
    return norm_reads(norm, machine)


def norm_reads(norm: Norm, machine: Machine) -> int:
    """How often a batch norm reads its tensors: once where they stay on chip, all channels together."""
    return 1 if norm_tiles(norm, machine.system).kept else NORM_PASSES[norm.kind, norm.direction]
