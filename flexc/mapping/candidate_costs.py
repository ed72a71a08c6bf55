"""Cycles of many candidates at once: the closed forms of ``flexc.cost`` on arrays, to rank by.

Sums over tiles are products of sums over each dimension, which leaves two small differences from the exact
estimate: bits are not rounded up transfer by transfer, and waits for swaps are those of full tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.cost.clock import OUTPUT_BYTES
from flexc.cost.tile_cycles import (
    STREAMED_OUTPUTS,
    chain_factor,
    core_rates,
    output_factors,
    reduction_lanes,
    wave_steps,
)
from flexc.ir.mapping import DIMS, OUTPUT_DIMS
from flexc.mapping.array_options import ArrayOption
from flexc.mapping.footprint import holds_whole_groups
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.segments import same_in_every_group, tile_segments
from flexc.mapping.tile_candidates import Integers, TileCandidates
from flexc.mapping.traffic import read_rows
from flexc.target.machine import Target

Reals = NDArray[np.float64]
G, N, P, Q, OUT, K, R, S = range(len(DIMS))
PLANES = 2
"""Transfers of one tile of a block tensor: its mantissas, then its exponents."""
OUTPUT_AXES, TAP_AXES = (P, Q), (R, S)


@dataclass(frozen=True)
class TransferCycles:
    """DMA cycles of each candidate [T], in its better order of loops."""

    order: Integers
    """0: operand b passes while a stays; 1: a passes while b stays."""
    load: Reals
    store: Reals
    first_load: Reals
    last_store: Reals
    again: Reals
    """Of a result that is not quantized where it is made, and is read once more for that."""


def transfer_cycles(problem: ContractionProblem, target: Target, tiles: TileCandidates) -> TransferCycles:
    """Loads and stores of every candidate."""
    extents = np.array(problem.extents)
    trips = -(-extents // (tiles.tile * tiles.cores))
    rows, columns = (_rows(problem, tiles, axis) for axis in (0, 1))
    g, n, o, k = (problem.extents[dim] for dim in (G, N, OUT, K))
    bits_a, bits_b = problem.a_bits / 8, problem.b_bits / 8
    vectors: Reals
    if problem.kind == "matmul":
        vectors = np.full(len(tiles), g * problem.extents[P], np.float64)
    else:
        vectors = (n * (1 if problem.grouped_channels else g) * rows * columns).astype(np.float64)
    if problem.grouped_channels:
        exponents = trips[:, G] * -(-problem.a_channels // problem.a_group)
        elements = g * k
    else:
        exponents = np.full(len(tiles), -(-k // problem.a_group))
        elements = k
    a_bytes = vectors * (elements * bits_a + exponents * problem.exponent_bytes)
    filter_groups = problem.extents[R] * problem.extents[S] * -(-k // problem.b_group)
    b_bytes = (
        g
        * o
        * (
            problem.extents[R] * problem.extents[S] * k * bits_b
            + (filter_groups if problem.b_group_dim == "k" else 1) * problem.exponent_bytes
        )
    )
    reduced = trips[:, [K, R, S]].prod(axis=1)
    streamed = trips[:, [N, P, Q]].prod(axis=1)
    a_again = np.stack(
        [np.where(reduced > 1, trips[:, OUT], 1), np.where(reduced * streamed > 1, trips[:, OUT], 1)]
    )
    b_again = np.stack(
        [np.where(reduced * trips[:, OUT] > 1, streamed, 1), np.where(reduced > 1, streamed, 1)]
    )
    a_tiles = trips[:, G] * streamed * reduced
    b_tiles = trips[:, G] * trips[:, OUT] * reduced
    transfers = PLANES * (a_tiles * a_again + b_tiles * b_again)
    per_byte = 1 / target.dram_bytes_per_cycle
    load = (a_bytes * a_again + b_bytes * b_again) * per_byte + transfers * target.dram_latency_cycles
    order = load.argmin(axis=0)
    stores = trips[:, [G, N, P, Q, OUT]].prod(axis=1)
    chip = tiles.tile * tiles.cores
    again = np.zeros(len(tiles))
    if problem.output_group is not None:
        again += ~holds_whole_groups(problem, chip[:, G], chip[:, OUT])
    output_bytes = float(problem.outputs * OUTPUT_BYTES)
    latency = target.dram_latency_cycles
    outputs = [G, N, P, Q, OUT]
    last_outputs = (extents[outputs] - (trips[:, outputs] - 1) * chip[:, outputs]).prod(axis=1)
    return TransferCycles(
        order,
        load.min(axis=0),
        output_bytes * per_byte + stores * latency,
        (a_bytes / a_tiles + b_bytes / b_tiles) * per_byte + 2 * PLANES * latency,
        last_outputs * OUTPUT_BYTES * per_byte + latency,
        np.ceil(output_bytes * again * per_byte),
    )


def _rows(problem: ContractionProblem, tiles: TileCandidates, axis: int) -> Integers:
    """Rows (or columns) that all tiles of a candidate read together [T]."""
    of_outputs, of_taps = OUTPUT_AXES[axis], TAP_AXES[axis]
    distinct, where = tiles.distinct((of_outputs, of_taps), (of_outputs,))
    read = []
    for candidate in distinct.tolist():
        tile, cores = int(tiles.tile[candidate, of_outputs]), int(tiles.cores[candidate, of_outputs])
        rows = read_rows(problem, axis, tile, cores, int(tiles.tile[candidate, of_taps]))
        read.append(sum(map(sum, rows)))
    return np.array(read)[where]


def compute_cycles(
    problem: ContractionProblem, target: Target, tiles: TileCandidates, options: list[ArrayOption]
) -> Reals:
    """Cycles of the cores [T, A] for every candidate tile and every use of the array."""
    extents = np.array(problem.extents)
    period = tiles.tile * tiles.cores
    trips = -(-extents // period)
    last = np.minimum(extents - (trips - 1) * period, tiles.tile)
    rates = core_rates(target, problem.a_bits, problem.b_bits)
    factors = np.array([list(output_factors(x.lane, x.unit, x.pes).values()) for x in options])
    streams = np.array([[dim in STREAMED_OUTPUTS[x.stream] for dim in OUTPUT_DIMS] for x in options])
    lines = np.ones((len(tiles), len(options)))
    streamed = np.ones((len(tiles), len(options)))
    streamed_tiles = np.ones((len(tiles), len(options)))
    streamed_lines = np.ones((len(tiles), len(options)))
    for dim in range(len(OUTPUT_DIMS)):
        if extents[dim] == 1:
            continue
        full = -(-tiles.tile[:, dim, None] // factors[None, :, dim])
        summed = (trips[:, dim, None] - 1) * full - (-last[:, dim, None] // factors[None, :, dim])
        lines *= summed
        if streams[:, dim].any():
            streamed *= np.where(streams[:, dim], full, 1)
            streamed_tiles *= np.where(streams[:, dim], trips[:, dim, None], 1)
            streamed_lines *= np.where(streams[:, dim], summed, 1)
    steps, bounded_steps = _steps(problem, target, tiles, options)
    blocks = np.ceil(streamed / rates.integer_accumulators)
    wait = blocks * np.maximum(0, rates.swap_cycles - streamed / blocks)
    waits = lines / streamed_lines * streamed_tiles * steps * wait
    fill = trips.prod(axis=1)[:, None] * (rates.fill_cycles + rates.swap_cycles)
    cycles: Reals = lines * bounded_steps + waits + fill
    return cycles


def _steps(
    problem: ContractionProblem, target: Target, tiles: TileCandidates, options: list[ArrayOption]
) -> tuple[Reals, Reals]:
    """Lane steps of the reduction of one output [T, A]; and the same, as slow as its partials make them."""
    candidates, where = tiles.distinct((K, R, S), ())
    distinct = tiles.tile[candidates][:, [K, R, S]]
    keys: dict[tuple[int, ...], int] = {}
    columns = []
    for option in options:
        factors = output_factors(option.lane, option.unit, option.pes)
        partials = option.unit.factor * (1 if option.lane.dim == "k" else option.lane.factor)
        least = max(
            -(-prod(factors.values()) // target.psum_words_per_cycle), -(-partials // target.pe_fp32_adders)
        )
        chains = tuple(chain_factor(dim, option.pes) for dim in ("k", "r", "s"))
        key = (reduction_lanes(option.lane, option.pes), *chains, least, factors["g"])
        columns.append(keys.setdefault(key, len(keys)))
    plain, bounded = np.empty((len(distinct), len(keys))), np.empty((len(distinct), len(keys)))
    for row, (k_tile, r_tile, s_tile) in enumerate(distinct.tolist()):
        for (lanes, chain_k, chain_r, chain_s, least, side_by_side), column in keys.items():
            window = _chained(problem.extents[R], r_tile, chain_r) * _chained(
                problem.extents[S], s_tile, chain_s
            )
            waves = _waves(problem, k_tile, lanes, chain_k, side_by_side)
            plain[row, column] = sum(count * steps for steps, count in waves) * window
            bounded[row, column] = sum(count * max(steps, least) for steps, count in waves) * window
    return plain[where][:, columns], bounded[where][:, columns]


def _chained(extent: int, tile: int, chained: int) -> int:
    full, rest = divmod(extent, tile)
    return full * -(-tile // chained) + -(-rest // chained)


def _waves(
    problem: ContractionProblem, k_tile: int, lanes: int, chained: int, side_by_side: int
) -> list[tuple[int, float]]:
    """Lane steps of the waves over all of k, and how many there are.

    The mean over sets of conv groups ``side_by_side``, whose waves last as long as the longest of the set.
    """
    k = problem.extent("k")
    groups = 1 if same_in_every_group(problem) else problem.extent("g")
    sets = range(0, groups, side_by_side)
    found = []
    for first in sets:
        for start in range(0, k, k_tile):
            steps = [
                wave_steps(tile_segments(problem, g, start, min(start + k_tile, k)), lanes, chained)
                for g in range(first, min(first + side_by_side, groups))
            ]
            found += [(max(wave), 1 / len(sets)) for wave in zip_longest(*steps, fillvalue=0)]
    return found
