"""Arrays that FlexBlock is compared with: frozen dataclasses of strict TOML files, every value assumed.

A baseline is an array and its number format. DRAM, buffers, vector unit, converter and clock are those of the
machine that it is compared with (machine description, "Baselines").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from flexc.target.tables import setting

NumberFormat: TypeAlias = Literal["bf16", "bfp", "int"]
NUMBER_FORMATS: tuple[NumberFormat, ...] = ("bf16", "bfp", "int")


@dataclass(frozen=True)
class Numerics:
    """What the array multiplies, and what lies in DRAM."""

    format: str = setting(f"Format of operands: {', '.join(NUMBER_FORMATS)}.")
    forward_bits: int = setting("Bits of an operand of the forward pass.", 2, 32)
    local_grad_bits: int = setting("Bits of an operand of the local gradient.", 2, 32)
    weight_grad_bits: int = setting("Bits of an operand of the weight gradient.", 2, 32)
    multiplier_bits: int = setting(
        "Width of the array's multipliers; wider mantissas take several passes.", 2, 32
    )
    group_length: int = setting("Elements that share an exponent (0: none, or one a tensor).", 0, 4096)
    stored_bits: int = setting("Bits of an element of a result between layers.", 8, 32)

    def operand_bits(self, training_pass: str) -> int:
        """Bits of an operand of ``forward``, ``local_grad`` or ``weight_grad``."""
        bits: int = getattr(self, f"{training_pass}_bits")
        return bits

    def multiplications(self, training_pass: str) -> int:
        """Products of the array's multipliers that one product of operands takes."""
        if self.format == "bf16":
            return 1
        pieces = -(-self.operand_bits(training_pass) // self.multiplier_bits)
        return pieces * pieces


@dataclass(frozen=True)
class WeightStationary:
    """A systolic grid: weights stay in rows (reduced) by columns (outputs), operand a streams."""

    rows: int = setting("Rows of the grid: elements of the reduced axis.", 1, 1 << 16)
    columns: int = setting("Columns of the grid: outputs.", 1, 1 << 16)
    weight_double_buffer: bool = setting("Whether the next weights load while rows stream.")


@dataclass(frozen=True)
class ReductionTree:
    """PEs under a flexible reduction tree: stationary elements lie side by side without gaps."""

    pes: int = setting("PEs of the array.", 1, 1 << 24)
    pe_area_factor: float = setting("Area of a PE with its part of the tree over that of a plain one.", 1, 10)


@dataclass(frozen=True)
class ChunkSerial:
    """A systolic grid whose cells reduce a group of products at once, one pair of chunks a cycle."""

    rows: int = setting("Rows of the grid: groups of the reduced axis.", 1, 1 << 16)
    columns: int = setting("Columns of the grid: outputs.", 1, 1 << 16)
    products_per_cell: int = setting("Products that a cell sums.", 1, 1024)
    weight_double_buffer: bool = setting("Whether the next weights load while rows stream.")


Array: TypeAlias = WeightStationary | ReductionTree | ChunkSerial
ARRAYS: dict[str, type[Array]] = {
    "weight_stationary": WeightStationary,
    "reduction_tree": ReductionTree,
    "chunk_serial": ChunkSerial,
}


@dataclass(frozen=True)
class Baseline:
    """An array, its number format and what it follows."""

    name: str
    description: str
    numerics: Numerics
    array: Array
