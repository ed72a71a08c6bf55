"""The search for a mapping: every candidate's cycles in closed form, then energy, then a fixed order.

Cycles are those of the contraction alone, beside its own transfers (machine description, "Clock").
Vectorized sums rank the candidates; the exact estimate orders the best few. The result depends on the
problem and the target alone.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from flexc.cost.clock import estimate
from flexc.cost.energy import contraction_energy_pj
from flexc.ir.mapping import DIMS, Dim, Factor, Mapping
from flexc.mapping.array_options import ArrayOption, array_options
from flexc.mapping.candidate_costs import Reals, compute_cycles, transfer_cycles
from flexc.mapping.capacity import does_not_fit, require_accumulators
from flexc.mapping.footprint import holds_whole_groups
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.tile_candidates import Integers, TileCandidates, tile_candidates
from flexc.target.machine import Target

ORDERS: tuple[tuple[Dim, ...], ...] = (
    ("g", "n", "p", "q", "o", "k", "r", "s"),
    ("g", "o", "n", "p", "q", "k", "r", "s"),
)
"""Orders of the DRAM loops: operand a stays while b passes, or b stays while a passes."""
SAMPLED_TILES_PER_SPLIT = 4
SAMPLED_TILES = 96
"""Tiles on which all uses of the array are tried."""
KEPT_OPTIONS = 16
KEPT_TILES = 3072
"""Tiles on which the best uses of the array are then tried."""
FINALISTS = 16
CHANNEL_DIMS: tuple[Dim, Dim] = ("g", "o")


def search(problem: ContractionProblem, target: Target) -> Mapping:
    """The best mapping of ``problem`` on ``target``; :func:`~flexc.mapping.cache.find_mapping` remembers it.

    Raises :class:`CompileError` where the problem cannot run on the machine: mantissa widths that no PE
    multiplies (FX411), integer sums that no accumulator holds (FX412), tiles that no buffer holds (FX413).
    """
    options = array_options(problem, target)
    require_accumulators(problem, target)
    tiles = tile_candidates(problem, target)
    if not len(tiles):
        raise does_not_fit(problem, target)
    bound = _bound(problem, target, tiles, options)
    ranked = np.argsort(bound, kind="stable")
    sample = tiles.take(_some_of_each_split(tiles, ranked))
    sampled, _ = _cycles(problem, target, sample, options)
    best_options = np.argsort(sampled.min(axis=0), kind="stable")[:KEPT_OPTIONS]
    options = [options[int(at)] for at in best_options]
    tiles = tiles.take(ranked[: min(KEPT_TILES, int((bound <= sampled.min()).sum()))])
    cycles, order = _cycles(problem, target, tiles, options)
    finalists = [
        _mapping(tiles, int(at) // len(options), options[int(at) % len(options)], order)
        for at in np.argsort(cycles, axis=None, kind="stable")[:FINALISTS]
    ]
    return min(finalists, key=lambda mapping: _rank(problem, mapping, target))


def _cycles(
    problem: ContractionProblem, target: Target, tiles: TileCandidates, options: list[ArrayOption]
) -> tuple[Reals, Integers]:
    """Cycles [T, A], and the better order of loops for each tile [T]."""
    transfers = transfer_cycles(problem, target, tiles)
    compute = compute_cycles(problem, target, tiles, options)
    first_compute = compute / tiles.visits(problem)[:, None]
    cycles: Reals = np.maximum(
        np.maximum(transfers.first_load[:, None] + compute, transfers.load[:, None] + first_compute)
        + transfers.last_store[:, None],
        (transfers.first_load + transfers.store)[:, None] + first_compute,
    )
    return cycles + transfers.again[:, None], transfers.order


def _bound(
    problem: ContractionProblem, target: Target, tiles: TileCandidates, options: list[ArrayOption]
) -> Reals:
    """A lower bound of cycles [T]: every multiplier at work that the widest use of the array puts to work."""
    transfers = transfer_cycles(problem, target, tiles)
    extents = np.array(problem.extents)
    period = tiles.tile * tiles.cores
    trips = -(-extents // period)
    first_core = (trips - 1) * tiles.tile + np.minimum(extents - (trips - 1) * period, tiles.tile)
    compute = first_core.prod(axis=1, dtype=np.float64) / max(option.macs_per_cycle for option in options)
    compute += trips.prod(axis=1) * target.pipeline_fill_cycles
    bound: Reals = np.maximum(
        np.maximum(transfers.first_load + compute, transfers.load) + transfers.last_store,
        transfers.first_load + transfers.store,
    )
    return bound + transfers.again


def _some_of_each_split(tiles: TileCandidates, ranked: Integers) -> Integers:
    """The first few of ``ranked`` for each split over the cores."""
    _, split = tiles.take(ranked).distinct((), range(len(DIMS)))
    by_split = np.argsort(split, kind="stable")
    counts = np.bincount(split)
    place = np.empty(len(ranked), np.int64)
    place[by_split] = np.arange(len(ranked)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranked[place < SAMPLED_TILES_PER_SPLIT][:SAMPLED_TILES]


def _rank(problem: ContractionProblem, mapping: Mapping, target: Target) -> tuple[int, float, str]:
    """Cycles, energy and a name: what a better mapping has less of.

    Where the quantization that follows cannot be fused, the result is written and read once more.
    """
    found = estimate(problem, mapping, target)
    energy_pj = contraction_energy_pj(problem, mapping, target, found)
    chip_g, chip_o = (mapping.tile_of(dim) * mapping.core_factor(dim) for dim in CHANNEL_DIMS)
    if problem.output_group is None or holds_whole_groups(problem, chip_g, chip_o):
        return found.cycles, energy_pj, str(mapping)
    again_cycles = ceil(found.output_bytes / target.dram_bytes_per_cycle)
    return found.cycles + again_cycles, energy_pj, str(mapping)


def _mapping(tiles: TileCandidates, row: int, option: ArrayOption, order: Integers) -> Mapping:
    cores = tiles.cores[row].tolist()
    return Mapping(
        option.stream,
        option.lane,
        option.unit,
        option.pes,
        tuple(Factor(dim, cores[at]) for at, dim in enumerate(DIMS) if cores[at] > 1),
        tuple(tiles.tile[row].tolist()),
        ORDERS[int(order[row])],
    )
