"""Energy of one contraction, from the target's table (machine description, "Energy")."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import prod, sqrt

from flexc.cost.clock import Estimate
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.cost.tile_cycles import STREAMED_OUTPUTS, chain_factor
from flexc.ir.mapping import Mapping
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

SRAM_REFERENCE_BYTES = 8 * 1024
WORD_BITS = 32


@dataclass(frozen=True)
class ContractionEnergy:
    """Where the energy of one contraction goes, pJ."""

    multipliers: float
    integer_adders: float
    integer_accumulators: float
    """Registers that integer sums are clocked into with every line."""
    fp32_adders: float
    operand_registers: float
    """Registers of the PEs that lines and held values are clocked into."""
    streamed_lines: float
    """Lines of the streamed operand, read from its buffer."""
    held_values: float
    """Values of the held operand, read from its buffer."""
    accumulators: float
    """Accumulators read from the psum buffer and written back."""
    transfer_buffers: float
    """What passes between DRAM and buffers, on the buffers' side."""
    dram: float
    """Bytes to and from DRAM, the result in fp32."""

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(astuple(self)))


def multiply_pj(target: Target, a_bits: int, b_bits: int) -> float:
    """One integer product of mantissas, on multipliers of 4 by 4 bits.

    From nothing at 4 by 4 bits to the whole of it at 16 by 16, composing costs in proportion to the pieces.
    """
    pieces = (a_bits // 4) * (b_bits // 4)
    overhead = (target.energy.composed_multiply_factor.value - 1) * (pieces - 1) / 15
    plain = target.energy.integer_multiply_pj_per_bit_squared.value * a_bits * b_bits
    return plain * (1 + overhead)


def sram_pj_per_bit(target: Target, buffer_bytes: int) -> float:
    """Reading (or writing) one bit of a buffer: the 8 KiB entry, growing with the root of the size."""
    return target.energy.sram_read_64_bits_8_kib_pj.value / 64 * sqrt(buffer_bytes / SRAM_REFERENCE_BYTES)


def dram_energy(target: Target, transferred_bytes: int) -> EnergyBreakdown:
    """Bytes to or from DRAM, and through a buffer on the other side."""
    bits = transferred_bytes * 8
    per_bit = sram_pj_per_bit(target, target.operand_buffer_bytes)
    return EnergyBreakdown(dram=bits * target.dram_pj_per_bit, buffers=bits * per_bit)


def lane_energy(
    target: Target, *, vector_cycles: float = 0, converted: float = 0, through_lightnorm: float = 0
) -> EnergyBreakdown:
    """Engines beside the cores: cycles of vector lanes, elements quantized, elements through LightNorm."""
    table = target.energy
    return EnergyBreakdown(
        vector=vector_cycles * table.vector_lane_cycle_pj.value,
        converters=converted * table.converter_element_pj.value,
        lightnorm=through_lightnorm * table.lightnorm_element_pj.value,
    )


def array_energy(
    problem: ContractionProblem, mapping: Mapping, target: Target, cost: Estimate
) -> EnergyBreakdown:
    """:func:`contraction_energy` by component, traffic with DRAM apart."""
    found = contraction_energy(problem, mapping, target, cost)
    return EnergyBreakdown(
        multipliers=found.multipliers,
        adders=found.integer_adders + found.integer_accumulators + found.fp32_adders,
        lines=found.operand_registers,
        buffers=found.streamed_lines + found.held_values + found.accumulators,
    )


def contraction_energy_pj(
    problem: ContractionProblem, mapping: Mapping, target: Target, cost: Estimate
) -> float:
    """All the energy of one contraction, as :func:`contraction_energy` counts it."""
    return contraction_energy(problem, mapping, target, cost).total


def contraction_energy(
    problem: ContractionProblem, mapping: Mapping, target: Target, cost: Estimate
) -> ContractionEnergy:
    """Multiplies, adds, registers, buffers and DRAM of one contraction.

    A line or a held value that several PEs of a core share is read once, and clocked into each. Each chained
    wave reads and writes its accumulators once.
    """
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    cores = prod(factor.factor for factor in mapping.cores)
    apart = prod(pe.factor for pe in mapping.pes)
    streamed_only = STREAMED_OUTPUTS[mapping.stream]
    outputs = [pe for pe in mapping.pes if pe.role == "outputs"]
    sharing_held = prod(pe.factor for pe in outputs if pe.dim in streamed_only)
    sharing_line = prod(pe.factor for pe in outputs if pe.dim not in streamed_only and pe.dim != "g")
    lines = cost.compute.streamed_lines * cores
    interleaved = min(target.integer_accumulators, prod(mapping.tile_of(dim) for dim in streamed_only))
    line_bits = lines * apart * target.line_bits_per_pe
    held_bits = lines / interleaved * apart * shape.held_bits
    sum_bits = lines * apart * shape.units * target.accumulator_bits
    chained = prod(chain_factor(dim, mapping.pes) for dim in ("k", "r", "s"))
    segments = -(-problem.extent("k") // problem.longest_segment) * problem.extent("r") * problem.extent("s")
    partials = problem.outputs * segments
    psum_bits = 2 * partials / chained * WORD_BITS
    streamed, held = ("a", "b") if mapping.stream == "a" else ("b", "a")
    buffers = {"a": target.operand_buffer_bytes, "b": target.held_buffer_bytes}
    register = target.energy.register_pj_per_bit.value
    transfers = dram_energy(target, cost.dma_bytes)
    return ContractionEnergy(
        multipliers=problem.macs * multiply_pj(target, problem.a_bits, problem.b_bits),
        integer_adders=problem.macs * target.energy.int32_add_pj.value,
        integer_accumulators=sum_bits * register,
        fp32_adders=partials * target.energy.fp32_add_pj.value,
        operand_registers=(line_bits + held_bits) * register,
        streamed_lines=line_bits / sharing_line * sram_pj_per_bit(target, buffers[streamed]),
        held_values=held_bits / sharing_held * sram_pj_per_bit(target, buffers[held]),
        accumulators=psum_bits * sram_pj_per_bit(target, target.psum_buffer_bytes),
        transfer_buffers=transfers.buffers,
        dram=transfers.dram,
    )
