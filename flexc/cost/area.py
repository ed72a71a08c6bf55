"""Area of datapaths, from the target's table: what `--iso` holds equal (machine description, "Baselines").

All arrays are counted alike: multipliers, trees of integer or reducing adders, accumulators, fp32 adders,
operand registers. Buffers, DRAM, converter, vector and LightNorm units are none of it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from flexc.target.baseline import Array, Baseline, ChunkSerial, ReductionTree
from flexc.target.machine import BITS_PER_MULTIPLIER, Target
from flexc.target.tables import AreaTable

TREE_ADDER_BITS = 16
"""Width of an adder in FlexBlock's trees: products of 8 bits, 96 of them, and their alignment."""
CHUNK_ADDER_BITS = 8
"""Width of an adder in a chunk-serial cell: products of 4 bits, 16 of them."""
FP32_BITS = 32
BF16_SIGNIFICAND_BITS = 8


@dataclass(frozen=True)
class DatapathArea:
    """Parts of a datapath, um2."""

    multipliers: float = 0.0
    trees: float = 0.0
    accumulators: float = 0.0
    fp32_adders: float = 0.0
    registers: float = 0.0

    @property
    def total(self) -> float:
        """All parts."""
        parts: tuple[float, ...] = astuple(self)
        return sum(parts)

    def __add__(self, other: DatapathArea) -> DatapathArea:
        """Both, side by side."""
        return DatapathArea(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(DatapathArea))
        )

    def times(self, count: float) -> DatapathArea:
        """``count`` of it."""
        return DatapathArea(*(part * count for part in astuple(self)))


def flexblock_area(target: Target) -> DatapathArea:
    """The cores of ``target``: composable multipliers, lane trees, 40-bit accumulators, operand registers."""
    table = target.area
    plain = table.integer_multiply_um2_per_bit_squared.value * BITS_PER_MULTIPLIER**2
    units = target.pe_shape(BITS_PER_MULTIPLIER, BITS_PER_MULTIPLIER).units
    held_bits = target.pe_shape(BITS_PER_MULTIPLIER, BITS_PER_MULTIPLIER).held_bits
    add = table.integer_add_um2_per_bit.value
    register = table.register_um2_per_bit.value
    accumulators = units * target.accumulator_bits * (add + target.integer_accumulators * register)
    pe = DatapathArea(
        multipliers=target.multipliers_per_pe * plain * table.composed_multiply_factor.value,
        trees=(target.multipliers_per_pe - units) * TREE_ADDER_BITS * add,
        accumulators=accumulators,
        fp32_adders=target.pe_fp32_adders * table.fp32_add_um2.value,
        # The held operand is double-buffered.
        registers=(2 * held_bits + target.line_bits_per_pe) * register,
    )
    return pe.times(target.cores * target.pes_per_core)


def baseline_area(baseline: Baseline, table: AreaTable) -> DatapathArea:
    """The array of ``baseline``."""
    array = baseline.array
    cell = _cell(baseline, table)
    if isinstance(array, ReductionTree):
        tree = DatapathArea(trees=(array.pe_area_factor - 1) * cell.total)
        return (cell + tree).times(array.pes)
    column = DatapathArea() if _sums_in_fp32(baseline) else DatapathArea(fp32_adders=table.fp32_add_um2.value)
    return cell.times(array.rows * array.columns) + column.times(array.columns)


def _cell(baseline: Baseline, table: AreaTable) -> DatapathArea:
    numerics, array = baseline.numerics, baseline.array
    per_square, register = table.integer_multiply_um2_per_bit_squared.value, table.register_um2_per_bit.value
    products = array.products_per_cell if isinstance(array, ChunkSerial) else 1
    multiply = products * per_square * numerics.multiplier_bits**2
    held = 1 if isinstance(array, ReductionTree) or not array.weight_double_buffer else 2
    operand_bits = products * numerics.forward_bits
    # A streamed element, the held ones, and a partial sum on its way down.
    registers = (operand_bits * (1 + held) + FP32_BITS) * register
    adder = table.fp32_add_um2.value if _sums_in_fp32(baseline) else 0.0
    if isinstance(array, ChunkSerial):
        trees = (products - 1) * CHUNK_ADDER_BITS * table.integer_add_um2_per_bit.value
        return DatapathArea(multiply + table.int8_add_um2.value, trees, 0.0, adder, registers)
    if numerics.format == "bf16":
        return DatapathArea(multiply + table.int8_add_um2.value, 0.0, 0.0, adder, registers)
    return DatapathArea(multiply, 0.0, table.int32_add_um2.value, adder, registers)


def _sums_in_fp32(baseline: Baseline) -> bool:
    """Whether every cell adds in fp32; in the other grids each column does, once a fold."""
    return baseline.numerics.format == "bf16" or isinstance(baseline.array, ChunkSerial)


def resized(baseline: Baseline, cells: int) -> Array:
    """The array of ``baseline`` with at most ``cells`` cells; a grid is that of :func:`best_grid`."""
    if isinstance(baseline.array, ReductionTree):
        return replace(baseline.array, pes=max(1, cells))
    rows, columns = best_grid(cells)
    return replace(baseline.array, rows=rows, columns=columns)


GRID_STEP = 4
GRID_WASTE = 0.03


def best_grid(cells: int) -> tuple[int, int]:
    """Rows and columns of a grid of at most ``cells`` cells, multiples of 4 from 16 cells on.

    The squarest of those that have nearly as many cells as any whose sides differ by a factor of two at most.
    """
    step = GRID_STEP if cells >= GRID_STEP**2 else 1
    rows = np.arange(step, cells // step + 1, step)
    columns = cells // rows // step * step
    even = np.maximum(rows, columns) <= 2 * np.minimum(rows, columns)
    if not even.any():
        return 1, max(1, cells)
    rows, columns = rows[even], columns[even]
    enough = rows * columns >= (1 - GRID_WASTE) * (rows * columns).max()
    squarest = int(np.lexsort((-rows * columns, np.where(enough, abs(rows - columns), cells)))[0])
    return int(rows[squarest]), int(columns[squarest])
