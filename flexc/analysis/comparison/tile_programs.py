"""The tile programs of groups on a machine: loads, engines and stores, as the schedule lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, prod

from flexc.analysis.comparison.group_tiles import WalkTiles, copy_tiles
from flexc.analysis.comparison.machines import ContractionCost, DequantizationCost, Machine
from flexc.analysis.comparison.transfers import (
    EngineWork,
    Load,
    Results,
    first_loads,
    store_cycles,
    tensor_bits,
)
from flexc.analysis.comparison.walk_parts import walk_parts
from flexc.analysis.comparison.workload import BlockOperand, GroupWork, Walk
from flexc.cost.operand_loads import dma_cycles
from flexc.cost.pipeline import EngineName, FirstLoad, Stage, TileProgram


def walk_program(
    work: GroupWork,
    walk: Walk,
    found: WalkTiles,
    machine: Machine,
    engines: EngineWork,
    results: Results,
) -> TileProgram:
    """A group that walks its results: loads, its unit, the vector unit, the converter, stores."""
    system = machine.system
    tiles = found.tiles
    reads = list(zip(work.reads, found.loads, found.elements, strict=True))
    # What all tiles share is loaded first.
    in_order = sorted(range(len(reads)), key=lambda place: reads[place][1] > 1)
    loads = [
        Load(elements * machine.tensor_bits(one), count, one.stored_by, 0 if one.of_gather else 1)
        for one, count, elements in (reads[place] for place in in_order)
    ]
    of_tile = [
        (place, sum(first.cycles for first in load.first(system)))
        for place, load in zip(in_order, loads, strict=True)
        if load.loads > 1 or tiles == 1
    ]
    store = dma_cycles(system, engines.written_bytes, tiles * results.planes)
    parts = walk_parts(work, machine, results.quantized, results.plain, of_tile)
    # Zeros are loads of nothing.
    cleared = int(walk.cleared)
    clearing = dma_cycles(system, 0, cleared)
    computing = _at_work(
        Stage("lightnorm", engines.lightnorm), Stage("vector", engines.vector, parts.of_functions)
    )
    stages = (*computing, *_at_work(Stage("converter", engines.converter, parts.of_conversions)))
    return TileProgram(
        tiles,
        (*(first for load in loads for first in load.first(system)), FirstLoad(clearing)),
        sum(load.cycles(system) for load in loads) + tiles * clearing,
        (*stages, Stage("dma_out", store, parts.of_stores)),
        operands_until=max(0, len(computing) - 1),
        results_until=len(stages),
        stored=results.shares(machine, tiles),
        instructions=sum(load.instructions for load in loads)
        + tiles * (cleared + len(work.vector) + (work.lightnorm_elements > 0) + results.records),
    )


def dequantization_program(
    operand: BlockOperand, tiles: int, cost: DequantizationCost, machine: Machine, results: Results
) -> TileProgram:
    """A dequantization: both planes loaded, multiplied, stored."""
    system = machine.system
    loads = [Load(8, 1, None)] * cost.constants
    loads.append(Load(machine.operand_bits(operand) or 0, tiles, operand.stored_by, 2))
    return TileProgram(
        tiles,
        tuple(first for load in loads for first in load.first(system)),
        sum(load.cycles(system) for load in loads),
        (Stage(cost.engine, cost.cycles), Stage("dma_out", store_cycles(results.plain, machine, tiles))),
        operands_until=0,
        results_until=1,
        stored=results.shares(machine, tiles),
        instructions=sum(load.instructions for load in loads) + tiles * (1 + results.records),
    )


def copy_programs(work: GroupWork, machine: Machine) -> Iterator[TileProgram]:
    """Boxes of a result, loaded and stored one after the other."""
    system = machine.system
    for copy, read in zip(work.copies, work.reads, strict=True):
        tiles = copy_tiles(copy, read, machine)
        load = Load(tensor_bits(read, machine), tiles, read.stored_by)
        written = replace(work.writes[0], elements=read.elements)
        store = dma_cycles(system, ceil(tensor_bits(written, machine) / 8), tiles)
        yield TileProgram(
            tiles,
            load.first(system),
            load.cycles(system),
            (Stage("dma_out", store),),
            operands_until=0,
            results_until=0,
            instructions=2 * tiles,
        )


def contraction_programs(
    work: GroupWork,
    machine: Machine,
    contractions: Sequence[ContractionCost],
    engines: EngineWork,
    results: Results,
) -> Iterator[TileProgram]:
    """A program for each contraction, and one for results that no contraction reaches: zeros are stored."""
    system = machine.system
    written = max([problem_outputs(work), *(one.elements for one in results.plain)])
    for problem, contraction in zip(work.problems, contractions, strict=True):
        operands = contraction.operands
        share = problem.outputs / written
        parameters = [
            Load(tensor_bits(one, machine), operands.channel_loads, one.stored_by, 1, operands.channel_sweeps)
            for one in work.reads
        ]
        a, b = work.operands_stored_by
        first = [
            first_loads(system, operands.first_a_cycles, operands.planes, a),
            first_loads(system, operands.first_b_cycles, operands.planes, b),
            *(tuple(replace(each, for_results=True) for each in one.first(system)) for one in parameters),
        ]
        depths = (*operands.depths[:2], *operands.depths[2:] * len(parameters))
        in_order = sorted(zip(depths, first, strict=True), key=lambda one: one[0])
        load = operands.cycles + sum(one.cycles(system) for one in parameters)
        chain = _chain(contraction, engines, share)
        store = dma_cycles(system, ceil(engines.written_bytes * share), operands.tiles * results.planes)
        yield TileProgram(
            operands.tiles,
            tuple(one for _, each in in_order for one in each),
            load,
            (*chain, Stage("dma_out", store)),
            operands_until=0,
            results_until=len(chain) if results.plain else len(chain) - 1,
            steps=operands.steps,
            stored=results.shares(machine, operands.tiles),
            instructions=operands.transfers
            + operands.products
            + sum(one.instructions for one in parameters)
            + operands.tiles * (len(work.vector) + (work.lightnorm_elements > 0) + results.records),
        )
    for fill in work.fills:
        filled = replace(results.plain[0], elements=prod(fill.extents))
        tiles = copy_tiles(fill, filled, machine)
        nothing = dma_cycles(system, 0, 1)
        yield TileProgram(
            tiles,
            (FirstLoad(nothing),),
            tiles * nothing,
            (Stage("dma_out", store_cycles([filled], machine, tiles)),),
            operands_until=0,
            results_until=0,
            instructions=2 * tiles,
        )


def problem_outputs(work: GroupWork) -> int:
    """Results that the contractions of a group make."""
    return sum(problem.outputs for problem in work.problems)


def _chain(contraction: ContractionCost, engines: EngineWork, share: float) -> tuple[Stage, ...]:
    """What works on the accumulators, one after the other."""
    vector = engines.vector * share
    compute: float = contraction.compute_cycles
    if contraction.engine == "vector":
        compute, vector = compute + vector, 0
    behind: tuple[tuple[EngineName, float], ...] = (
        ("lightnorm", engines.lightnorm * share),
        ("vector", vector),
        ("converter", engines.converter * share),
    )
    stages = (Stage(name, ceil(cycles)) for name, cycles in behind)
    return (Stage(contraction.engine, ceil(compute)), *_at_work(*stages))


def _at_work(*stages: Stage) -> tuple[Stage, ...]:
    return tuple(stage for stage in stages if stage.cycles)
