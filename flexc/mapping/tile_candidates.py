"""Candidate core splits and buffer tiles of a contraction: all that fit the buffers, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from flexc.ir.mapping import DIMS, Dim
from flexc.mapping.footprint import a_tile_bytes, accumulator_tile_bytes, b_tile_bytes
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

Integers = NDArray[np.int64]
SPLITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
SPLIT_DIMS: tuple[Dim, ...] = ("g", "n", "p", "q", "o")
MOST_CORE_AXES = 3
"""Dimensions that the cores can be split over at once."""
MOST_VISITS = 4
ALWAYS_VISITS = 32
"""Candidates of more chip tiles than this multiple of the fewest, plus this number, are left out: each tile
costs a fill and the latency of its transfers."""
CHANNEL_MULTIPLE = 4
"""Channels of a cut result come in multiples of this: LightNorm's groups."""


@dataclass(frozen=True)
class TileCandidates:
    """Candidates as rows: extents of a core's tile [T, 8], cores that split each dimension [T, 8]."""

    tile: Integers
    cores: Integers

    def __len__(self) -> int:
        return len(self.tile)

    def take(self, index: Integers) -> TileCandidates:
        """The candidates at ``index``."""
        return TileCandidates(self.tile[index], self.cores[index])

    def visits(self, problem: ContractionProblem) -> Integers:
        """Chip tiles of each candidate [T]: trips of all loops over DRAM together."""
        trips = -(-np.array(problem.extents) // (self.tile * self.cores))
        chip_tiles: Integers = trips.prod(axis=1)
        return chip_tiles

    def distinct(self, tile_of: Sequence[int], cores_of: Sequence[int]) -> tuple[Integers, Integers]:
        """One candidate for each combination of these tile extents and splits; and which one each stands for.

        Columns are positions in ``DIMS``.
        """
        columns = [self.tile[:, at] for at in tile_of] + [self.cores[:, at] for at in cores_of]
        key = np.zeros(len(self), np.int64)
        for column in columns:
            key = key * (int(column.max(initial=0)) + 1) + column
        _, first, where = np.unique(key, return_index=True, return_inverse=True)
        return first, where


def tile_candidates(problem: ContractionProblem, target: Target) -> TileCandidates:
    """All candidates that fit; none where not even the smallest tile does."""
    columns = {dim: np.array(_choices(problem, dim, target), np.int64) for dim in DIMS}
    # Joined one dimension at a time, those that take most room first, so that what cannot fit goes early.
    # Order is a matter of k, r and s together: it is looked at when the last of them is there.
    order: tuple[Dim, ...] = ("k", "r", "s", "o", "q", "p", "g", "n")
    tile = {dim: columns[dim][:, 1].min(keepdims=True) for dim in DIMS}
    cores = {dim: np.ones(1, np.int64) for dim in DIMS}
    for dim in order:
        split, extent = columns[dim].T
        left, right = np.nonzero(_may_join(problem, target, tile, cores, dim, split, extent))
        tile = {each: values[left] for each, values in tile.items()}
        cores = {each: values[left] for each, values in cores.items()}
        tile[dim], cores[dim] = extent[right], split[right]
        kept = _fits(problem, target, tile)
        if dim == "s":
            kept &= _in_order(problem, tile)
        keep = np.flatnonzero(kept)
        tile = {each: values[keep] for each, values in tile.items()}
        cores = {each: values[keep] for each, values in cores.items()}
    found = TileCandidates(np.stack([tile[d] for d in DIMS], 1), np.stack([cores[d] for d in DIMS], 1))
    if not len(found):
        return found
    visits = found.visits(problem)
    return found.take(np.flatnonzero(visits <= MOST_VISITS * visits.min() + ALWAYS_VISITS))


def smallest_tile(problem: ContractionProblem, target: Target) -> tuple[int, ...]:
    """The least extent of every dimension in a tile, each on its own."""
    return tuple(min(extent for _, extent in _choices(problem, dim, target)) for dim in DIMS)


def _choices(problem: ContractionProblem, dim: Dim, target: Target) -> list[tuple[int, int]]:
    """Pairs (cores, extent of a core's tile) of one dimension."""
    extent = problem.extent(dim)
    if dim == "k":
        step = problem.k_step
        cuts = () if step is None else (step * count for count in (1, 2, 3, 4, 6, 8, 12, 16, 24))
        return [(1, extent), *((1, cut) for cut in cuts if cut < extent)]
    if dim in ("r", "s"):
        if problem.pass_ != "weight_grad":
            return [(1, extent)]
        return sorted(
            {(1, -(-extent // split)) for split in (*SPLITS, extent) if split <= extent}, reverse=True
        )
    found = set()
    for cores in _core_factors(problem, dim, target):
        share = -(-extent // cores)
        for split in (*SPLITS, share):
            tile = -(-share // split)
            if dim in ("g", "o"):
                tile = _aligned(problem, dim, tile, cores)
            if tile * cores < extent + tile and tile <= target.accumulator_tile_bytes:
                found.add((cores, tile))
    return sorted(found, key=lambda choice: (choice[0], -choice[1]))


def _core_factors(problem: ContractionProblem, dim: Dim, target: Target) -> list[int]:
    if dim == "q" and problem.extent("p") > 1:
        return [1]
    most = min(target.cores, problem.extent(dim))
    return [cores for cores in range(1, most + 1) if target.cores % cores == 0]


def _aligned(problem: ContractionProblem, dim: Dim, tile: int, cores: int) -> int:
    """The least extent from ``tile`` on at which a cut of the result's channels is allowed (else all)."""
    extent, per_step = problem.extent(dim), 1
    if problem.kind != "matmul" and dim == "g":
        per_step = problem.extent("o")
    elif problem.kind != "matmul" and problem.extent("g") > 1 and problem.extent("o") % CHANNEL_MULTIPLE:
        return extent
    elif dim == "g":
        return tile
    multiple = lcm(
        2 // gcd(2, per_step),
        CHANNEL_MULTIPLE // gcd(CHANNEL_MULTIPLE, cores * per_step),
        2 // gcd(2, problem.extent("k")) if dim == "g" and problem.a_bits == 4 else 1,
    )
    return min(-(-tile // multiple) * multiple, extent)


def _may_join(
    problem: ContractionProblem,
    target: Target,
    tile: dict[Dim, Integers],
    cores: dict[Dim, Integers],
    dim: Dim,
    split: Integers,
    extent: Integers,
) -> NDArray[np.bool_]:
    """Which candidates so far [T] may take which choices of ``dim`` [C], by the cores they use.

    Several images in a tile are tried only where none of them is cut.
    """
    used = np.stack([cores[each] for each in SPLIT_DIMS])
    axes = (used > 1).sum(axis=0)[:, None] + (split > 1)
    joined: NDArray[np.bool_] = used.prod(axis=0)[:, None] * split <= target.cores
    joined &= axes <= MOST_CORE_AXES
    if dim == "n":
        whole = (tile["p"] * cores["p"] >= problem.extent("p")) & (
            tile["q"] * cores["q"] >= problem.extent("q")
        )
        joined &= whole[:, None] | (extent == 1)
    return joined


def _fits(problem: ContractionProblem, target: Target, tile: dict[Dim, Integers]) -> NDArray[np.bool_]:
    g, n, p, q, o, k, r, s = (tile[dim] for dim in DIMS)
    fits: NDArray[np.bool_] = (
        (a_tile_bytes(problem, g, n, p, q, k, r, s) <= target.operand_tile_bytes)
        & (b_tile_bytes(problem, g, o, k, r, s) <= target.held_tile_bytes)
        & (accumulator_tile_bytes(g, n, p, q, o) <= target.accumulator_tile_bytes)
    )
    return fits


def _in_order(problem: ContractionProblem, tile: dict[Dim, Integers]) -> NDArray[np.bool_]:
    """Where a cut window leaves the segments in order: a tile holds one of k, and one row if it cuts rows."""
    one_segment = tile["k"] <= min(problem.a_group, problem.b_group, problem.extent("k"))
    rows_whole, columns_whole = tile["r"] == problem.extent("r"), tile["s"] == problem.extent("s")
    in_order: NDArray[np.bool_] = (rows_whole | one_segment) & (
        columns_whole | ((tile["r"] == 1) & one_segment)
    )
    return in_order
