"""Bytes that one sweep over the tiles of an operand reads from DRAM.

Unpadded bits of what lies inside the tensor, rounded up to bytes a transfer. What several cores need of one
tile is read once (machine description, "The array").
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from flexc.ir.mapping import Dim, Mapping
from flexc.mapping.loops import chip_tile_sizes, combinations
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.traffic import read_rows

OUTPUT_AND_TAP: tuple[tuple[Dim, Dim], ...] = (("p", "r"), ("q", "s"))
"""Output and window dimension that index the rows, and the columns, of operand a."""


@dataclass(frozen=True)
class Sweep:
    """Bytes of all tiles of an operand: mantissas, exponents; and both of its first tile.

    Where conv groups share the channel axis, the exponents of a are those of all conv groups, and a sweep
    over them is one over the tiles of all other dimensions.
    """

    mantissa_bytes: int
    exponent_bytes: int
    first_bytes: int


def a_sweep(problem: ContractionProblem, mapping: Mapping) -> Sweep:
    """Operand a, halo included."""
    sizes = {dim: chip_tile_sizes(problem, mapping, dim) for dim in ("g", "n", "p", "k")}
    if problem.kind == "matmul":
        rows, columns = sizes["p"], Counter({1: 1})
    else:
        rows, columns = (_read_sizes(problem, mapping, axis) for axis in (0, 1))
    mantissas, exponents, first = 0, 0, 0
    g_tiles = sum(sizes["g"].values()) if problem.grouped_channels else 1
    for (g, n, r, c, k), count in combinations((sizes["g"], sizes["n"], rows, columns, sizes["k"])):
        vectors = n * r * c * (1 if problem.grouped_channels else g)
        elements = k * (g if problem.grouped_channels else 1)
        groups = -(-(problem.a_channels if problem.grouped_channels else k) // problem.a_group)
        tile_mantissas = -(-vectors * elements * problem.a_bits // 8)
        tile_exponents = vectors * groups * problem.exponent_bytes
        mantissas += count * tile_mantissas
        exponents += count * tile_exponents
        first = first or tile_mantissas + tile_exponents
    return Sweep(mantissas, exponents // g_tiles, first)


def b_sweep(problem: ContractionProblem, mapping: Mapping) -> Sweep:
    """Operand b: mantissas and exponents."""
    mantissas, exponents, first = 0, 0, 0
    dims: tuple[Dim, ...] = ("g", "o", "k", "r", "s")
    for (g, o, k, r, s), count in combinations([chip_tile_sizes(problem, mapping, dim) for dim in dims]):
        groups = r * s * -(-k // problem.b_group) if problem.b_group_dim == "k" else 1
        tile_mantissas = -(-g * o * r * s * k * problem.b_bits // 8)
        tile_exponents = g * o * groups * problem.exponent_bytes
        mantissas += count * tile_mantissas
        exponents += count * tile_exponents
        first = first or tile_mantissas + tile_exponents
    return Sweep(mantissas, exponents, first)


def _read_sizes(problem: ContractionProblem, mapping: Mapping, axis: int) -> Counter[int]:
    dim, tap = OUTPUT_AND_TAP[axis]
    tiles = read_rows(problem, axis, mapping.tile_of(dim), mapping.core_factor(dim), mapping.tile_of(tap))
    return Counter(rows for of_taps in tiles for rows in of_taps)
