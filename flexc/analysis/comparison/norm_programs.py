"""The tile programs of batch norms in training: passes over tensors that do not stay on chip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from flexc.analysis.comparison.group_tiles import norm_tiles
from flexc.analysis.comparison.machines import Machine
from flexc.analysis.comparison.transfers import (
    EngineWork,
    Load,
    store_cycles,
    tensor_bits,
)
from flexc.analysis.comparison.vector_work import LIGHTNORM_GRADIENT, LIGHTNORM_SUMS
from flexc.analysis.comparison.workload import GroupWork, Norm
from flexc.cost.operand_loads import dma_cycles
from flexc.cost.pipeline import FirstLoad, Part, Stage, TileProgram
from flexc.target.machine import Target

LIGHTNORM_SUMMING_RECORDS = 6
"""Behind the sums of a LightNorm's backward pass, for a tile of channels: both sums of lanes, four shares."""
LIGHTNORM_GRADIENT_RECORDS = 5
"""For each tile of its result: centred, the extrema's shares, scaled, rounded, stored."""


def norm_programs(
    work: GroupWork, norm: Norm, machine: Machine, engines: EngineWork, passes: int
) -> Iterator[TileProgram]:
    """A batch norm: one program where its tensors stay on chip, else one for each pass over them."""
    if norm.kind == "lightnorm":
        yield from _lightnorm_programs(work, norm, machine)
        return
    system = machine.system
    tiles = norm_tiles(norm, system).tiles
    loads = [
        Load(tensor_bits(one, machine), tiles * passes, one.stored_by, sweeps=passes)
        if one.elements >= norm.elements
        else Load(tensor_bits(one, machine), 1, one.stored_by)
        for one in work.reads
    ]
    yield TileProgram(
        tiles * passes,
        tuple(first for load in loads for first in load.first(system)),
        sum(load.cycles(system) for load in loads),
        (
            Stage("vector", engines.vector),
            Stage("dma_out", dma_cycles(system, engines.written_bytes, tiles * len(work.writes))),
        ),
        operands_until=0,
        results_until=1,
    )


def _lightnorm_programs(work: GroupWork, norm: Norm, machine: Machine) -> Iterator[TileProgram]:
    """Statistics or sums first; then what every position becomes with them."""
    system = machine.system
    found = norm_tiles(norm, system)
    unit = ceil(norm.elements / system.lightnorm_elements_per_cycle)
    gradient = 0
    first_stages: tuple[Stage, ...] = (Stage("lightnorm", unit),)
    passes = unit_passes(work, norm, system)
    if norm.direction == "backward":
        sums, gradient = (
            ceil(norm.elements * _cycles(functions, system) / system.vector_elements_per_cycle)
            for functions in (LIGHTNORM_SUMS, LIGHTNORM_GRADIENT)
        )
        first_stages = (*first_stages, Stage("vector", sums))
    vectors, tensors = (
        [one for one in work.writes if (one.elements >= norm.elements) is whole] for whole in (False, True)
    )
    loads: list[Load] = []
    if norm.direction == "normalize":
        loads = _vector_loads(work, norm, machine)
    else:
        yield _first_pass(work, norm, machine, first_stages)
        passes -= 1
    here = found.kept and norm.direction != "normalize"
    again = [] if here else _tensor_loads(work, norm, machine, found.tiles)[:1]
    loads += again
    # Backward, the unit has the last of a tile's steps, and those before wait for the vector unit.
    last_cycles = unit * passes + gradient
    store = store_cycles(vectors, machine, found.channel_tiles) + store_cycles(tensors, machine, found.tiles)
    of_tensors = store_cycles(tensors, machine, found.tiles) / store
    # Vectors are stored before the last stage, and a result while the next one is made.
    made = 1 if norm.direction == "backward" else len(tensors)
    parts = (
        Part(0.0, 1.0),
        *(Part((count + 1) / made, of_tensors * (made - count) / made) for count in range(made)),
    )
    # What is loaded again of a gradient is rounded again.
    records = LIGHTNORM_GRADIENT_RECORDS + len(again) if norm.direction == "backward" else 2 * len(tensors)
    yield TileProgram(
        found.tiles,
        tuple(first for load in loads for first in load.first(system)),
        sum(load.cycles(system) for load in loads),
        (Stage("lightnorm", last_cycles), Stage("dma_out", store, parts)),
        operands_until=0,
        results_until=1,
        instructions=found.tiles * records + sum(load.instructions for load in loads),
    )


def _first_pass(work: GroupWork, norm: Norm, machine: Machine, stages: tuple[Stage, ...]) -> TileProgram:
    """Loads of vectors and tensors, and what all positions are needed for."""
    system, found = machine.system, norm_tiles(norm, machine.system)
    tensors = _tensor_loads(work, norm, machine, found.first_tiles)
    vectors = _vector_loads(work, norm, machine)
    loads_of_tensors = [sum(one.cycles for one in load.first(system)) for load in tensors]
    if norm.direction == "backward":
        # The unit rounds the gradient, which is loaded before what it is multiplied with.
        of_vectors = sum(load.cycles(system) for load in vectors) if found.first_tiles == 1 else 0
        whole = sum(loads_of_tensors) + of_vectors
        early = (Part(1 - loads_of_tensors[-1] / whole, 1.0), Part(1.0, 0.0))
        stages = (replace(stages[0], parts=early), *stages[1:])
    # Backward, the lanes of both sums are cleared by loads of nothing.
    cleared = 2 if norm.direction == "backward" else 0
    clearing = dma_cycles(system, 0, cleared)
    records, summing = (2, 1) if norm.direction == "forward" else (6, LIGHTNORM_SUMMING_RECORDS)
    stored = sum(one.elements < norm.elements for one in work.writes)
    per_channel_tile = cleared + summing + stored
    return TileProgram(
        found.first_tiles,
        (
            *(first for load in vectors for first in load.first(system)),
            FirstLoad(clearing),
            *(first for load in tensors for first in load.first(system)),
        ),
        sum(load.cycles(system) for load in (*tensors, *vectors)) + clearing * found.channel_tiles,
        stages,
        operands_until=len(stages) - 1,
        results_until=len(stages) - 1,
        instructions=found.first_tiles * records
        + per_channel_tile * found.channel_tiles
        + sum(load.instructions for load in vectors),
    )


def _tensor_loads(work: GroupWork, norm: Norm, machine: Machine, tiles: int) -> list[Load]:
    """Loads of what a norm passes over."""
    tensors = (one for one in work.reads if one.elements >= norm.elements)
    return [Load(tensor_bits(one, machine), tiles, one.stored_by) for one in tensors]


def _vector_loads(work: GroupWork, norm: Norm, machine: Machine) -> list[Load]:
    """Loads of what a norm reads of each channel, and of constants."""
    tiles = norm_tiles(norm, machine.system).channel_tiles
    return [
        Load(tensor_bits(one, machine), tiles if one.elements >= norm.channels else 1, one.stored_by)
        for one in work.reads
        if one.elements < norm.elements
    ]


def unit_passes(work: GroupWork, norm: Norm, system: Target) -> int:
    """How often LightNorm's unit takes each element.

    Forward for the statistics, unless they are there, and each result; backward to round the gradient
    (again, where it was not kept), for the shares of the extrema and to round the result.
    """
    if norm.direction != "backward":
        results = sum(tensor.elements >= norm.elements for tensor in work.writes)
        return results + (norm.direction == "forward")
    return 3 if norm_tiles(norm, system).kept else 4


def _cycles(functions: Sequence[str], system: Target) -> int:
    return sum(system.vector_cycles.cycles_of(function) for function in functions)
