"""LightNorm's statistics on the write-back of the contraction before: whether they ride, and what they take.

They ride where the schedule lets them (docs/schedule.md): the tensor does not stay on chip anyway, tiles hold
whole groups of channels, and the buffers have room for the state of all chunks.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from flexc.analysis.comparison.group_tiles import norm_tiles
from flexc.analysis.comparison.machines import ContractionCost, Machine
from flexc.analysis.comparison.staging import STAGED, contraction_buffers
from flexc.analysis.comparison.transfers import Load, store_cycles, tensor_bits
from flexc.analysis.comparison.workload import UNPLACED, GroupWork, Norm, Statistics, StoredBy, Tensor
from flexc.cost.pipeline import Stage, TileProgram
from flexc.ir.mapping import DIMS
from flexc.mapping.problem import ContractionProblem
from flexc.passes.scheduling.buffer_slots import BufferPlan
from flexc.passes.scheduling.contraction_plan import CHANNEL_GROUP
from flexc.passes.scheduling.riding_statistics import STATE_ROWS, VECTORS

READ_VECTORS = 3
"""Mean, scale and gamma of ten bits, by which the rest of the norm goes on."""


def rides(work: GroupWork, machine: Machine) -> bool:
    """Whether the contraction of ``work`` carries the statistics of what follows it."""
    return contraction_room(work, machine)[1] is not None


def contraction_room(work: GroupWork, machine: Machine) -> tuple[BufferPlan, Statistics | None]:
    """The slots of a contraction, and the statistics if they ride on it: then with slots for them."""
    problem = work.problems[0]
    contraction = machine.contraction(problem)
    # Values of 32 bits on chip for each output channel.
    rows = sum(one.elements for one in work.reads) // (problem.extent("g") * problem.extent("o"))
    statistics = work.statistics
    if (
        statistics is not None
        and not norm_tiles(statistics.norm, machine.system).kept
        and _holds_channel_groups(problem, contraction)
    ):
        buffers = contraction_buffers(problem, contraction, rows)
        _take_statistics(buffers, statistics.norm, contraction)
        if buffers.overflow is None:
            return buffers, statistics
    return contraction_buffers(problem, contraction, rows), None


def _take_statistics(buffers: BufferPlan, norm: Norm, contraction: ContractionCost) -> None:
    """The slots of the state and of the vectors."""
    tiles = _channel_tiles(contraction)
    channels = norm.channels
    if tiles > 1:
        chip = dict(zip(DIMS, contraction.chip_tile, strict=True))
        channels = min(channels, chip["g"] * chip["o"])
    depths = (2, 1) if tiles > 1 else (1,)
    for size in (8 * STATE_ROWS * norm.chunks * channels, *(4 * channels for _ in VECTORS)):
        buffers.take_striped("statistics", size, depths=depths, buffers=STAGED)


def summary_program(statistics: Statistics, contraction: ContractionCost, machine: Machine) -> TileProgram:
    """What follows from the states, for each tile of channels that has one."""
    system, norm = machine.system, statistics.norm
    tiles = _channel_tiles(contraction)
    load = Load(tensor_bits(statistics.gamma, machine), tiles, statistics.gamma.stored_by)
    values = STATE_ROWS * norm.chunks * norm.channels
    return TileProgram(
        tiles,
        load.first(system),
        load.cycles(system),
        (
            Stage("lightnorm", ceil(values / system.lightnorm_elements_per_cycle)),
            Stage("dma_out", store_cycles(statistics.vectors, machine, tiles)),
        ),
        operands_until=0,
        results_until=1,
        instructions=load.instructions + tiles * (1 + len(statistics.vectors)),
    )


def normalizing(work: GroupWork) -> GroupWork:
    """The group of a LightNorm without its statistics, which ride on its carrier."""
    assert work.norm is not None
    assert work.carrier is not None
    assert work.carrier.statistics is not None
    norm, gamma = work.norm, work.carrier.statistics.gamma
    x, *vectors = work.reads
    vectors.remove(gamma)
    made = Tensor(norm.channels, "f32", StoredBy(work.carrier.number, UNPLACED))
    return replace(
        work,
        reads=(x, *(made,) * READ_VECTORS, *vectors),
        writes=tuple(one for one in work.writes if one.elements >= norm.elements),
        norm=replace(norm, direction="normalize", chunks=1),
    )


def _holds_channel_groups(problem: ContractionProblem, contraction: ContractionCost) -> bool:
    """Whether channels are one axis of the tiles, and those of all cores together whole groups."""
    core = dict(zip(DIMS, contraction.core_tile, strict=True))
    chip = dict(zip(DIMS, contraction.chip_tile, strict=True))
    g, o = problem.extent("g"), problem.extent("o")
    if g > 1 and (core["o"] < o or chip["o"] > core["o"]):
        return False
    channels = chip["g"] * min(chip["o"], o) if g > 1 else chip["o"]
    return channels >= g * o or channels % CHANNEL_GROUP == 0


def _channel_tiles(contraction: ContractionCost) -> int:
    """Tiles of channels that have a state of their own: one state is that of all where they come again."""
    loads = contraction.operands
    return 1 if loads.channel_sweeps > 1 else loads.channel_loads
