"""The machine a model is compiled for: one frozen dataclass a target, every value of it an assumption.

A PE has 96 multipliers of 4 by 4 bits and takes a line of 96 bits a cycle; nothing below works otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexc.diagnostics import error
from flexc.target.tables import AreaTable, EnergyTable, VectorCycles, setting

BITS_PER_MULTIPLIER = 4
KIB = 1024
HELD_PARAMETER_BYTES = 2 * KIB
"""Bytes of a core's held buffer kept for per-channel parameters (bias, LightNorm constants)."""


@dataclass(frozen=True)
class Target:
    """One machine: chip > cores > PEs > units x lanes, its buffers, its DRAM and its other engines."""

    vector_cycles: VectorCycles
    """Cycles of the functions of the vector unit."""
    energy: EnergyTable
    """Energy of operations."""
    area: AreaTable
    """Areas of parts of the datapath."""
    name: str = setting("Name of the target.")
    cores: int = setting("Cores of the chip; they make different outputs.", 1, 4096)
    clock_mhz: float = setting("Clock of all engines, MHz.", 1.0, 10_000.0)
    pes_per_core: int = setting("PEs of a core, used in factors of 1, 3 and 9.", 9, 9)
    multipliers_per_pe: int = setting("Multipliers of 4 by 4 bits in a PE.", 96, 96)
    line_bits_per_pe: int = setting("Bits of the streamed operand that a PE takes a cycle.", 96, 96)
    operand_buffer_bytes: int = setting("Buffer of the first operand's tiles in a core, bytes.", 64, 1 << 26)
    held_buffer_bytes: int = setting(
        "Buffer of the second operand's tiles and per-channel parameters in a core, bytes.", 4096, 1 << 26
    )
    psum_buffer_bytes: int = setting(
        "Buffer of accumulators and staged results in a core, bytes.", 64, 1 << 26
    )
    integer_accumulators: int = setting("Integer accumulators of a unit.", 1, 1024)
    accumulator_bits: int = setting("Width of an integer accumulator, sign included.", 16, 64)
    pe_fp32_adders: int = setting("Fp32 adders of a PE: partials that join accumulators a cycle.", 1, 64)
    psum_words_per_cycle: int = setting("Fp32 words that a core reads, and writes, a cycle.", 1, 4096)
    pipeline_fill_cycles: int = setting("Cycles from the first line of a tile to its first result.", 0, 1024)
    dram_bytes_per_second: float = setting("DRAM bandwidth, bytes a second.", 1e6, 1e14)
    dram_latency_cycles: int = setting("Cycles before the first byte of a transfer.", 0, 100_000)
    dram_capacity_bytes: int = setting("DRAM, bytes.", 1 << 16, 1 << 46)
    dram_pj_per_bit: float = setting("Energy of one bit to or from DRAM, pJ.", 0.0, 1e3)
    converter_elements_per_cycle: int = setting("Elements the converter quantizes a cycle.", 1, 1 << 20)
    vector_elements_per_cycle: int = setting("Lanes of the vector unit.", 1, 1 << 20)
    lightnorm_elements_per_cycle: int = setting("Elements the LightNorm unit takes a cycle.", 1, 1 << 20)

    @property
    def dram_bytes_per_cycle(self) -> float:
        """DRAM bandwidth in bytes a clock cycle."""
        return self.dram_bytes_per_second / (self.clock_mhz * 1e6)

    @property
    def multipliers(self) -> int:
        """Multipliers of 4 by 4 bits on the chip."""
        return self.cores * self.pes_per_core * self.multipliers_per_pe

    @property
    def operand_tile_bytes(self) -> int:
        """Bytes one tile of operand a may take in a core: half the operand buffer, for double buffering."""
        return self.operand_buffer_bytes // 2

    @property
    def held_tile_bytes(self) -> int:
        """Bytes one tile of operand b may take in a core: half of what the parameters leave."""
        return (self.held_buffer_bytes - HELD_PARAMETER_BYTES) // 2

    @property
    def accumulator_tile_bytes(self) -> int:
        """Bytes one tile of accumulators may take in a core; two of them leave 3/8 to staged results."""
        return self.psum_buffer_bytes * 5 // 16

    def pe_shape(self, a_bits: int, b_bits: int) -> PeShape:
        """How the multipliers of a PE combine for mantissas of ``a_bits`` and ``b_bits``.

        The narrower operand fills the line: lanes = line bits / its width. A :class:`CompileError` for
        widths that the multipliers do not compose.
        """
        if a_bits not in MANTISSA_WIDTHS or b_bits not in MANTISSA_WIDTHS:
            raise error(
                "FX411",
                f"no PE of '{self.name}' multiplies mantissas of {a_bits} and {b_bits} bits",
                hint="mantissas of 4, 8 or 16 bits map; other widths run on the executor only",
            )
        narrow, wide = sorted((a_bits, b_bits))
        per_mac = (a_bits // BITS_PER_MULTIPLIER) * (b_bits // BITS_PER_MULTIPLIER)
        lanes = self.line_bits_per_pe // narrow
        units = self.multipliers_per_pe // (per_mac * lanes)
        return PeShape(lanes, units, per_mac, lanes * units * wide)


MANTISSA_WIDTHS = (4, 8, 16)


@dataclass(frozen=True)
class PeShape:
    """Lanes and units of a PE for one pair of mantissa widths."""

    lanes: int
    """Products that one unit sums a cycle."""
    units: int
    """Outputs that share a streamed line."""
    multipliers_per_mac: int
    """Multipliers of 4 by 4 bits that one product takes."""
    held_bits: int
    """Bits of the held operand in a PE."""
