"""Walks the loops of a mapping: that each MAC is done once, and each output's segments in canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.ir.mapping import DIMS, OUTPUT_DIMS, Dim, Mapping
from flexc.mapping.problem import ContractionProblem

WALKED_MACS = 100_000
"""Contractions of up to this many MACs are walked."""

Segment: TypeAlias = tuple[int, int, int, int]
"""First element of k, the one after the last, row and column of the window."""


def walk(problem: ContractionProblem, mapping: Mapping) -> list[str]:
    """What the walk finds wrong; empty where the mapping does all of the contraction, in order."""
    found = []
    times = _times_done(problem, mapping)
    if (times != 1).any():
        where = dict(zip(DIMS, (int(at) for at in np.argwhere(times != 1)[0]), strict=True))
        found.append(f"the MAC at {where} is done {int(times[times != 1][0])} times")
    for g in range(problem.extent("g")):
        executed, canonical = list(_executed(problem, mapping, g)), _canonical(problem, g)
        if executed == canonical:
            continue
        at = next(
            (i for i, (done, right) in enumerate(zip(executed, canonical, strict=False)) if done != right),
            min(len(executed), len(canonical)),
        )
        found.append(
            f"segment {at} of an output of group {g} is {_name(executed, at)}, not {_name(canonical, at)}"
        )
        break
    return found


def _name(segments: list[Segment], at: int) -> str:
    if at >= len(segments):
        return "missing"
    start, stop, r, s = segments[at]
    return f"k {start} to {stop - 1} at ({r}, {s})"


def _times_done(problem: ContractionProblem, mapping: Mapping) -> NDArray[np.int32]:
    """How often each MAC is done, an array of the extents: every core's tiles in the loops there are."""
    times = np.zeros(problem.extents, np.int32)
    first_tile = {dim: slice(0, mapping.tile_of(dim)) for dim in DIMS}
    for blocks in product(*(list(_blocks(problem, mapping, dim)) for dim in mapping.order)):
        at = first_tile | dict(zip(mapping.order, blocks, strict=True))
        times[tuple(at[dim] for dim in DIMS)] += 1
    return times


def _blocks(problem: ContractionProblem, mapping: Mapping, dim: Dim) -> Iterator[slice]:
    """Every core's part of every tile, along one dimension."""
    extent, tile, cores = problem.extent(dim), mapping.tile_of(dim), mapping.core_factor(dim)
    for origin in range(0, extent, tile * cores):
        for core in range(cores):
            start = origin + core * tile
            if start < extent:
                yield slice(start, min(start + tile, extent))


def _executed(problem: ContractionProblem, mapping: Mapping, g: int) -> Iterator[Segment]:
    """The segments of one output in the order in which its accumulator takes them."""
    chain = {"k": 1, "r": 1, "s": 1}
    for pe in mapping.pes:
        if pe.role == "chain":
            chain[pe.dim] *= pe.factor
    reduced = [dim for dim in mapping.order if dim not in OUTPUT_DIMS]
    for tile in product(*(list(_blocks(problem, mapping, dim)) for dim in reduced)):
        block = dict(zip(reduced, tile, strict=True))
        runs = list(_runs(problem, g, block["k"].start, block["k"].stop))
        waves = product(
            range(0, len(runs), chain["k"]),
            range(block["r"].start, block["r"].stop, chain["r"]),
            range(block["s"].start, block["s"].stop, chain["s"]),
        )
        for first_run, first_r, first_s in waves:
            yield from (
                (start, stop, r, s)
                for (start, stop) in runs[first_run : first_run + chain["k"]]
                for r in range(first_r, min(first_r + chain["r"], block["r"].stop))
                for s in range(first_s, min(first_s + chain["s"], block["s"].stop))
            )


def _canonical(problem: ContractionProblem, g: int) -> list[Segment]:
    """The segments of one output in the order of the numerics specification: k, then r, then s."""
    runs = list(_runs(problem, g, 0, problem.extent("k")))
    taps = list(product(range(problem.extent("r")), range(problem.extent("s"))))
    return [(start, stop, r, s) for start, stop in runs for r, s in taps]


def _runs(problem: ContractionProblem, g: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Runs of k within one group of both operands, found element by element."""

    def group(k: int) -> tuple[int, int]:
        channel = k
        if problem.kind != "matmul" and problem.pass_ != "weight_grad":
            channel += g * problem.extent("k")
        b_group = k // problem.b_group if problem.b_group_dim == "k" else 0
        return channel // problem.a_group, b_group

    first = start
    for k in range(start + 1, stop + 1):
        if k == stop or group(k) != group(first):
            yield first, k
            first = k
