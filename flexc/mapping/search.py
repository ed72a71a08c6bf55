"""The search for a mapping: every candidate's cycles in closed form, then energy, then a fixed order.

Cycles are those of the contraction alone, beside its own transfers (machine description, "Clock").
Vectorized sums rank the candidates; the exact estimate orders the best few. The result depends on the
problem and the target alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from flexc.cost.clock import estimate
from flexc.cost.energy import contraction_energy_pj
from flexc.ir.mapping import DIMS, Dim, Factor, Mapping
from flexc.mapping.array_options import ArrayOption, array_options
from flexc.mapping.candidate_costs import TransferCycles, compute_cycles, transfer_cycles
from flexc.mapping.capacity import does_not_fit, require_accumulators
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.tile_candidates import Integers, TileCandidates, tile_candidates
from flexc.target.machine import Target

ORDERS: tuple[tuple[Dim, ...], ...] = (
    ("g", "n", "p", "q", "o", "k", "r", "s"),
    ("g", "o", "n", "p", "q", "k", "r", "s"),
)
"""Orders of the DRAM loops: operand a stays while b passes, or b stays while a passes."""
KEPT_TILES = 192
KEPT_TILES_PER_SPLIT = 8
FINALISTS = 8


@lru_cache(maxsize=4096)
def search(problem: ContractionProblem, target: Target) -> Mapping:
    """The best mapping of ``problem`` on ``target``.

    Raises :class:`CompileError` where the problem cannot run on the machine: mantissa widths that no PE
    multiplies (FX411), integer sums that no accumulator holds (FX412), tiles that no buffer holds (FX413).
    """
    options = array_options(problem, target)
    require_accumulators(problem, target)
    tiles = tile_candidates(problem, target)
    if not len(tiles):
        raise does_not_fit(problem, target)
    tiles = tiles.take(_promising(problem, target, tiles))
    transfers = transfer_cycles(problem, target, tiles)
    compute = compute_cycles(problem, target, tiles, options)
    cycles = (
        np.maximum(
            transfers.first_load[:, None] + compute, np.maximum(transfers.load, transfers.store)[:, None]
        )
        + transfers.last_store[:, None]
    )
    best = np.argsort(cycles, axis=None, kind="stable")[:FINALISTS]
    finalists = [
        _mapping(tiles, int(index) // len(options), options[int(index) % len(options)], transfers)
        for index in best
    ]
    return min(finalists, key=lambda mapping: _rank(problem, mapping, target))


def _promising(problem: ContractionProblem, target: Target, tiles: TileCandidates) -> Integers:
    """The tiles with the least bound on cycles: some of each split over cores, all cores' multipliers at work."""
    transfers = transfer_cycles(problem, target, tiles)
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    extents = np.array(problem.extents)
    period = tiles.tile * tiles.cores
    trips = -(-extents // period)
    first_core = (trips - 1) * tiles.tile + np.minimum(extents - (trips - 1) * period, tiles.tile)
    macs = first_core.prod(axis=1, dtype=np.float64)
    bound = (
        macs / (target.pes_per_core * shape.lanes * shape.units)
        + trips.prod(axis=1) * target.pipeline_fill_cycles
    )
    score = np.maximum(transfers.first_load + bound, np.maximum(transfers.load, transfers.store))
    score += transfers.last_store
    ranked = np.argsort(score, kind="stable")
    _, split = np.unique(tiles.cores[ranked], axis=0, return_inverse=True)
    by_split = np.argsort(split.reshape(-1), kind="stable")
    counts = np.bincount(split.reshape(-1))
    place = np.empty(len(ranked), np.int64)
    place[by_split] = np.arange(len(ranked)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranked[place < KEPT_TILES_PER_SPLIT][:KEPT_TILES]


def _rank(problem: ContractionProblem, mapping: Mapping, target: Target) -> tuple[int, float, str]:
    found = estimate(problem, mapping, target)
    return found.cycles, contraction_energy_pj(problem, mapping, target, found), str(mapping)


def _mapping(tiles: TileCandidates, row: int, option: ArrayOption, transfers: TransferCycles) -> Mapping:
    cores = tiles.cores[row].tolist()
    return Mapping(
        option.stream,
        option.lane,
        option.unit,
        option.pes,
        tuple(Factor(dim, cores[at]) for at, dim in enumerate(DIMS) if cores[at] > 1),
        tuple(tiles.tile[row].tolist()),
        ORDERS[int(transfers.order[row])],
    )
