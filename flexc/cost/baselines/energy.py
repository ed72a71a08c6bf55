"""Energy of one contraction on a baseline array, from the table of the machine beside it.

Buffers are banks of that machine's size. Cells that hold nothing spend nothing but their registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexc.cost.baselines.contraction import BaselineEstimate
from flexc.cost.baselines.folds import fold_model
from flexc.cost.energy import WORD_BITS, sram_pj_per_bit
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.mapping.problem import ContractionProblem
from flexc.target.baseline import Array, Baseline, ChunkSerial, Numerics, ReductionTree
from flexc.target.machine import Target
from flexc.target.tables import EnergyTable


@dataclass(frozen=True)
class _Shape:
    """Elements of the streamed operand a row brings, cells, and sums that leave with it."""

    elements: int
    cells: int
    products_per_cell: int
    sums: int


def baseline_energy(
    problem: ContractionProblem, baseline: Baseline, system: Target, estimate: BaselineEstimate
) -> EnergyBreakdown:
    """The array and its buffers, traffic with DRAM apart; ``problem`` in the baseline's format."""
    table, numerics = system.energy, baseline.numerics
    shape = _shape(baseline.array)
    products = problem.macs * numerics.multiplications(problem.pass_)
    bits = numerics.operand_bits(problem.pass_)
    clocked_rows = (
        estimate.streamed_rows
        * fold_model(baseline.array, numerics.multiplications(problem.pass_)).row_cycles
    )
    # Outputs of a tree lie side by side: each leaves once, whatever the folds.
    sums = estimate.streamed_rows * shape.sums if shape.sums else problem.outputs
    held_bits = estimate.folds * shape.cells * shape.products_per_cell * bits
    clocked_bits = estimate.streamed_rows * shape.cells * shape.products_per_cell * bits + held_bits
    reduced = problem.extent("g") * problem.extent("k") * problem.extent("r") * problem.extent("s")
    read_bits = estimate.streamed_rows * min(shape.elements, reduced) * bits + held_bits
    register = table.register_pj_per_bit.value
    return EnergyBreakdown(
        multipliers=products * _product_pj(numerics, baseline.array, table),
        adders=products * _sum_pj(numerics, baseline.array, table)
        + (0 if _sums_in_cells(numerics, baseline.array) else sums * table.fp32_add_pj.value)
        + clocked_rows * shape.cells * WORD_BITS * register,
        lines=clocked_bits * register,
        buffers=(read_bits + 2 * sums * WORD_BITS) * sram_pj_per_bit(system, system.operand_buffer_bytes),
    )


def _shape(array: Array) -> _Shape:
    if isinstance(array, ReductionTree):
        return _Shape(array.pes, array.pes, 1, 0)
    per_cell = array.products_per_cell if isinstance(array, ChunkSerial) else 1
    return _Shape(array.rows * per_cell, array.rows * array.columns, per_cell, array.columns)


def _sums_in_cells(numerics: Numerics, array: Array) -> bool:
    """Whether cells add in fp32, so that nothing is left to add where sums leave."""
    return numerics.format == "bf16" or isinstance(array, ChunkSerial)


def _product_pj(numerics: Numerics, array: Array, table: EnergyTable) -> float:
    """One product of the array's multipliers, with the exponents that it adds."""
    plain = table.integer_multiply_pj_per_bit_squared.value * numerics.multiplier_bits**2
    if isinstance(array, ChunkSerial):
        return plain + table.int8_add_pj.value / array.products_per_cell
    return plain + (table.int8_add_pj.value if numerics.format == "bf16" else 0.0)


def _sum_pj(numerics: Numerics, array: Array, table: EnergyTable) -> float:
    """Adding one product to its sum, within the array."""
    if isinstance(array, ChunkSerial):
        return table.int8_add_pj.value + table.fp32_add_pj.value / array.products_per_cell
    return table.fp32_add_pj.value if numerics.format == "bf16" else table.int32_add_pj.value
