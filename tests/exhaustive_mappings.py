"""Every legal mapping of a small contraction, by plain enumeration: what the search is held against.

Nothing is pruned but what the legality rules forbid: any tile, any factors of lanes and units, any
roles of the PEs, any split over the cores, any order of the DRAM loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations, product
from math import prod
from typing import Literal

from flexc.cost.clock import estimate
from flexc.ir.mapping import DIMS, OUTPUT_DIMS, Dim, Factor, Mapping, PeFactor
from flexc.mapping.problem import ContractionProblem
from flexc.target import Target

Array = tuple[Literal["a", "b"], Factor, Factor, tuple[PeFactor, ...]]
Tiling = tuple[tuple[Factor, ...], tuple[int, ...]]

STREAMS: tuple[Literal["a", "b"], ...] = ("a", "b")
REDUCED_DIMS: tuple[Dim, ...] = ("k", "r", "s")


def arrays(problem: ContractionProblem, target: Target) -> Iterator[Array]:
    """Every use of lanes, units and PEs that the array could be set to, legal or not."""
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    uses = [PeFactor("outputs", dim, 3) for dim in OUTPUT_DIMS]
    uses += [PeFactor("reduce", "k", 3), *(PeFactor("chain", dim, 3) for dim in REDUCED_DIMS)]
    pes: list[tuple[PeFactor, ...]] = [(), *((use,) for use in uses)]
    pes += [(PeFactor(use.role, use.dim, 9),) for use in uses]
    pes += list(combinations_with_replacement(uses, 2))
    lane_dims: tuple[Dim, ...] = ("k", "g", "o")
    for stream, lane, unit, each in product(STREAMS, lane_dims, OUTPUT_DIMS, pes):
        most_lanes, most_units = (
            min(shape.lanes, problem.extent(lane)),
            min(shape.units, problem.extent(unit)),
        )
        for lanes, units in product(range(1, most_lanes + 1), range(1, most_units + 1)):
            yield stream, Factor(lane, lanes), Factor(unit, units), each


def tilings(problem: ContractionProblem, target: Target) -> Iterator[Tiling]:
    """Every split over the cores with every tile, legal or not."""
    for split in product(*(range(1, target.cores + 1) for _ in OUTPUT_DIMS)):
        if prod(split) > target.cores:
            continue
        cores = tuple(
            Factor(dim, factor) for dim, factor in zip(OUTPUT_DIMS, split, strict=True) if factor > 1
        )
        for tile in product(*(range(1, problem.extent(dim) + 1) for dim in DIMS)):
            yield cores, tile


def best_order(problem: ContractionProblem, target: Target, array: Array, tiling: Tiling) -> Mapping:
    """The mapping whose order of DRAM loops loads least: nothing else of the clock depends on the order."""
    cores, tile = tiling
    split = {factor.dim: factor.factor for factor in cores}
    moving = [dim for dim in OUTPUT_DIMS if tile[DIMS.index(dim)] * split.get(dim, 1) < problem.extent(dim)]
    still = tuple(dim for dim in OUTPUT_DIMS if dim not in moving)
    mappings = (
        Mapping(*array, cores, tile, (*still, *order, "k", "r", "s")) for order in permutations(moving)
    )
    return min(mappings, key=lambda mapping: estimate(problem, mapping, target).load_cycles)
