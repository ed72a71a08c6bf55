"""Cycles, bytes and energy of one group of ops on one machine, in closed form.

Engines run side by side, tile by tile: a group takes its slowest engine for all tiles and every other one for
one tile. Groups follow one another; nothing is fetched ahead for the next one. All machines are counted so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from flexc.analysis.comparison.machines import ContractionCost, Machine, chip_buffer_bytes
from flexc.analysis.comparison.workload import BlockOperand, GroupWork, Norm, Tensor
from flexc.cost.clock import dma_cycles
from flexc.cost.energy import dram_energy
from flexc.cost.energy_breakdown import EnergyBreakdown

NORM_PASSES = {
    ("lightnorm", "forward"): 2,
    ("lightnorm", "backward"): 2,
    ("fp32", "forward"): 3,
    ("fp32", "backward"): 2,
}
"""How often a batch norm reads its tensors where they do not stay on chip."""
NORM_VALUES_ON_CHIP = {"forward": 3, "backward": 4}
"""Tensors of fp32 that a batch norm holds for each position (x, xhat, y; g, xhat and their products)."""


@dataclass(frozen=True)
class Cost:
    """Cycles from first load to last store, bytes to and from DRAM, energy: of a group, or of several."""

    cycles: int = 0
    compute_cycles: int = 0
    dram_bytes: int = 0
    energy: EnergyBreakdown = field(default_factory=EnergyBreakdown)

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            self.cycles + other.cycles,
            self.compute_cycles + other.compute_cycles,
            self.dram_bytes + other.dram_bytes,
            self.energy + other.energy,
        )


@dataclass(frozen=True)
class _Engines:
    """Cycles at work of all engines but the cores, and bytes each way."""

    read_bytes: int
    written_bytes: int
    vector: int
    converter: int
    lightnorm: int
    energy: EnergyBreakdown


def group_cost(work: GroupWork, machine: Machine) -> Cost | None:
    """The cost of a group; None where the machine has nothing to do (a conversion it does without)."""
    if not work.problems:
        return _without_contraction(work, machine)
    contractions = [machine.contraction(problem) for problem in work.problems]
    whole = machine.quantizes_whole_tensors() or all(one.whole_groups for one in contractions)
    quantized = _sizes(work.quantized, machine)
    if quantized and not whole:
        # The result is stored, read again and converted in a group of its own.
        apart = GroupWork(work.phase, work.layer, reads=work.stored_unquantized, quantized=work.quantized)
        alone = _with_contractions(work, machine, contractions, work.stored_unquantized, ())
        return alone + _plain(apart, machine, work.quantized, ())
    extra = () if len(quantized) == len(work.quantized) else work.stored_unquantized
    return _with_contractions(work, machine, contractions, extra, work.quantized)


def _without_contraction(work: GroupWork, machine: Machine) -> Cost | None:
    quantized = _sizes(work.quantized, machine)
    if work.quantized and not quantized and not work.vector and work.norm is None and not work.writes:
        return None
    extra = () if len(quantized) == len(work.quantized) else work.stored_unquantized
    return _plain(work, machine, work.quantized, extra)


def _plain(
    work: GroupWork, machine: Machine, quantized: Sequence[BlockOperand], extra: Sequence[Tensor]
) -> Cost:
    engines = _engines(work, machine, quantized, extra)
    system = machine.system
    tensors = len(work.reads) + len(work.block_reads) + len(work.writes) + len(extra) + len(quantized)
    moved = engines.read_bytes + engines.written_bytes
    tiles = max(1, ceil(2 * moved / chip_buffer_bytes(system)))
    busy = [
        dma_cycles(system, engines.read_bytes, tiles * tensors),
        dma_cycles(system, engines.written_bytes, tiles * (len(work.writes) + len(quantized))),
        engines.vector,
        engines.converter,
        engines.lightnorm,
    ]
    cycles = max(busy) + (sum(busy) - max(busy)) // tiles
    return Cost(cycles, 0, moved, engines.energy + dram_energy(system, moved))


def _with_contractions(
    work: GroupWork,
    machine: Machine,
    contractions: Sequence[ContractionCost],
    extra: Sequence[Tensor],
    quantized: Sequence[BlockOperand],
) -> Cost:
    """Contractions one after the other, their results stored and worked on as they come."""
    engines = _engines(work, machine, quantized, extra)
    system = machine.system
    tiles = sum(one.tiles for one in contractions)
    tensors = max(1, len(work.writes) + len(extra) + 2 * len(quantized))
    store = dma_cycles(system, engines.written_bytes, tiles * tensors)
    read = dma_cycles(system, engines.read_bytes, tiles * len(work.reads))
    compute = sum(one.compute_cycles for one in contractions)
    load = sum(one.load_cycles for one in contractions) + read
    first = contractions[0]
    head = first.first_load_cycles + first.first_compute_cycles
    last = store // tiles
    behind = max(store, engines.vector, engines.converter, engines.lightnorm)
    cycles = max(
        first.first_load_cycles + compute + last, load + first.first_compute_cycles + last, head + behind
    )
    load_bytes = sum(one.load_bytes for one in contractions)
    moved = load_bytes + engines.read_bytes + engines.written_bytes
    energy = sum((one.energy for one in contractions), engines.energy) + dram_energy(system, moved)
    return Cost(cycles, compute, moved, energy)


def _engines(
    work: GroupWork, machine: Machine, quantized: Sequence[BlockOperand], extra: Sequence[Tensor]
) -> _Engines:
    system, table = machine.system, machine.system.energy
    passes = 1 if work.norm is None else norm_reads(work.norm, machine)
    read_bits = sum(tensor.elements * machine.tensor_bits(tensor) for tensor in work.reads) * passes
    read_bits += sum(machine.operand_bits(one) or 0 for one in work.block_reads)
    written_bits = sum(tensor.elements * machine.tensor_bits(tensor) for tensor in (*work.writes, *extra))
    sizes = _sizes(quantized, machine)
    converted = sum(one.elements for one in quantized if machine.operand_bits(one) is not None)
    lane_cycles = sum(
        elements * system.vector_cycles.cycles_of(function) for function, elements in work.vector
    )
    through_unit = work.lightnorm_elements
    if work.norm is not None and work.norm.kind == "lightnorm":
        through_unit += 2 * work.norm.elements
    return _Engines(
        read_bytes=ceil(read_bits / 8),
        written_bytes=ceil((written_bits + sum(sizes)) / 8),
        vector=ceil(lane_cycles / system.vector_elements_per_cycle),
        converter=ceil(converted / system.converter_elements_per_cycle),
        lightnorm=ceil(through_unit / system.lightnorm_elements_per_cycle),
        energy=EnergyBreakdown(
            vector=lane_cycles * table.vector_lane_cycle_pj.value,
            converters=converted * table.converter_element_pj.value,
            lightnorm=through_unit * table.lightnorm_element_pj.value,
        ),
    )


def norm_reads(norm: Norm, machine: Machine) -> int:
    """How often a batch norm reads its tensors: once where they stay on chip, all channels together."""
    held = norm.elements * 4 * NORM_VALUES_ON_CHIP[norm.direction]
    return 1 if held <= chip_buffer_bytes(machine.system) else NORM_PASSES[norm.kind, norm.direction]


def _sizes(operands: Sequence[BlockOperand], machine: Machine) -> list[int]:
    """Bits of those operands that the machine quantizes."""
    sizes = (machine.operand_bits(one) for one in operands)
    return [size for size in sizes if size is not None]
