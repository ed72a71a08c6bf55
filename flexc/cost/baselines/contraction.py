"""Cycles and bytes of one contraction on a baseline array, beside DRAM and buffers of another machine.

Tiles and their traffic are those of FlexBlock's own search and closed forms, for one core that has all
buffers of the chip. The right operand of the problem is the stationary one. Among all tiles that fit, those
with the fewest cycles are chosen, then those with the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.cost.baselines.folds import FoldModel, fold_model
from flexc.cost.operand_loads import OperandLoads, operand_loads
from flexc.ir.mapping import DIMS, Dim, Factor, Mapping
from flexc.mapping.candidate_costs import transfer_cycles
from flexc.mapping.capacity import does_not_fit
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import ORDERS
from flexc.mapping.tile_candidates import TileCandidates, tile_candidates
from flexc.target.baseline import Baseline, Numerics
from flexc.target.machine import Target

STATIONARY_DIMS: tuple[Dim, ...] = ("g", "o", "k", "r", "s")
STREAMED_DIMS: tuple[Dim, ...] = ("n", "p", "q")


@dataclass(frozen=True)
class BaselineEstimate:
    """A contraction on an array, its result apart."""

    macs: int
    compute_cycles: int
    folds: int
    """How often the array is filled with stationary values, over all tiles."""
    streamed_rows: int
    """Rows of the streamed operand over all folds."""
    operands: OperandLoads
    tile: tuple[int, ...]
    """Extents of the loop dimensions in a tile."""


def pooled(system: Target) -> Target:
    """One core with all buffers of the chip."""
    return replace(
        system,
        cores=1,
        operand_buffer_bytes=system.operand_buffer_bytes * system.cores,
        held_buffer_bytes=system.held_buffer_bytes * system.cores,
        psum_buffer_bytes=system.psum_buffer_bytes * system.cores,
    )


def in_format(problem: ContractionProblem, numerics: Numerics) -> ContractionProblem:
    """The same loops with the operands of a baseline.

    Without shared exponents, a cut of the reduced axis may fall anywhere in multiples of 16.
    """
    bits = numerics.operand_bits(problem.pass_)
    whole = problem.extent("k") if problem.pass_ == "weight_grad" and problem.kind != "matmul" else 16
    group = numerics.group_length or whole
    return replace(
        problem,
        a_bits=bits,
        b_bits=bits,
        a_group=group,
        b_group=group,
        b_group_dim="k",
        exponent_bytes=1 if numerics.group_length else 0,
    )


@lru_cache(maxsize=8192)
def baseline_estimate(problem: ContractionProblem, baseline: Baseline, system: Target) -> BaselineEstimate:
    """The best tiles of ``problem``, in the baseline's format (:func:`in_format`), and what they take.

    Raises CompileError FX413 where no tile fits the buffers.
    """
    chip = pooled(system)
    model = fold_model(baseline.array, baseline.numerics.multiplications(problem.pass_))
    tiles = tile_candidates(problem, chip)
    if not len(tiles):
        raise does_not_fit(problem, chip)
    folds, compute = _compute_cycles(problem, tiles, model)
    transfers = transfer_cycles(problem, chip, tiles)
    pipelined = np.maximum(transfers.first_load + compute, np.maximum(transfers.load, transfers.store))
    best = int(np.lexsort((transfers.load, pipelined + transfers.last_store))[0])
    mapping = _mapping(tiles, best, int(transfers.order[best]))
    return BaselineEstimate(
        macs=problem.macs,
        compute_cycles=int(compute[best]),
        folds=int(folds[best] * _streamed_tiles(problem, tiles)[best]),
        streamed_rows=int(folds[best] * prod(problem.extent(dim) for dim in STREAMED_DIMS)),
        operands=operand_loads(problem, mapping, system),
        tile=mapping.tile,
    )


def _compute_cycles(
    problem: ContractionProblem, tiles: TileCandidates, model: FoldModel
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Folds for one sweep over the streamed rows [T], and cycles of all tiles [T]."""
    folds = np.zeros(len(tiles), np.int64)
    for (g, o, k, r, s), count in _stationary_tiles(problem, tiles):
        # Tiles that a candidate has not are counted 0 times; an extent of 1 keeps their quotients defined.
        extents = [np.maximum(extent, 1) for extent in (g, k * r * s, o)]
        folds += count * model.folds(*extents)
    rows = prod(problem.extent(dim) for dim in STREAMED_DIMS)
    overhead = model.overhead_cycles * _streamed_tiles(problem, tiles)
    return folds, folds * (rows * model.row_cycles + overhead)


def _streamed_tiles(problem: ContractionProblem, tiles: TileCandidates) -> NDArray[np.int64]:
    found = np.ones(len(tiles), np.int64)
    for dim in STREAMED_DIMS:
        found *= -(-problem.extent(dim) // tiles.tile[:, DIMS.index(dim)])
    return found


def _stationary_tiles(
    problem: ContractionProblem, tiles: TileCandidates
) -> Iterator[tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64]]]:
    """Extents of distinct tiles of the stationary operand, each [T], and how many of them there are [T]."""
    sizes = []
    for dim in STATIONARY_DIMS:
        extent, tile = problem.extent(dim), tiles.tile[:, DIMS.index(dim)]
        whole, rest = np.divmod(extent, tile)
        of_dim = [(tile, whole)] if not rest.any() else [(tile, whole), (rest, (rest > 0).astype(np.int64))]
        sizes.append(of_dim)
    for chosen in product(*sizes):
        yield tuple(size for size, _ in chosen), np.prod([count for _, count in chosen], axis=0)


def _mapping(tiles: TileCandidates, row: int, order: int) -> Mapping:
    """The DRAM loops of a candidate; the array's own use is the fold model's."""
    extents = tuple(tiles.tile[row].tolist())
    return Mapping("a", Factor("k", 1), Factor("o", 1), (), (), extents, ORDERS[order])
