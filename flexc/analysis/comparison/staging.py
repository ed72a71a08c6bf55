"""Which quantizations of a contraction's result its own tiles can do: those that hold their groups whole, and
whose results the buffers have room for beside the operands (docs/schedule.md, "Groups")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flexc.analysis.comparison.group_tiles import planes_on_chip
from flexc.analysis.comparison.machines import ContractionCost, Machine
from flexc.analysis.comparison.workload import BlockOperand
from flexc.ir.mapping import DIMS, Dim
from flexc.mapping.footprint import a_tile_bytes, accumulator_tile_bytes, b_tile_bytes, holds_whole_groups
from flexc.mapping.problem import ContractionProblem
from flexc.passes.scheduling.buffer_slots import BufferName, BufferPlan

PARAMETERS: tuple[BufferName, ...] = ("held", "psum", "operand")
STAGED: tuple[BufferName, ...] = ("psum", "held", "operand")


def contraction_buffers(
    problem: ContractionProblem, contraction: ContractionCost, parameter_rows: int
) -> BufferPlan:
    """The slots of a contraction's operands and accumulators, and of its parameters.

    ``parameter_rows`` are the values of 32 bits on chip for each output channel.
    """
    g, n, p, q, o, k, r, s = contraction.core_tile
    chip = dict(zip(DIMS, contraction.chip_tile, strict=True))
    buffers = BufferPlan(contraction.buffers)
    buffers.take("a", "operand", a_tile_bytes(problem, g, n, p, q, k, r, s), depth=2, per_core=True)
    buffers.take("b", "held", b_tile_bytes(problem, g, o, k, r, s), depth=2, per_core=True)
    buffers.take("accumulators", "psum", accumulator_tile_bytes(g, n, p, q, o), depth=2, per_core=True)
    parameters = 4 * parameter_rows * chip["g"] * chip["o"]
    buffers.take_striped("parameters", parameters, depths=(2, 1), buffers=PARAMETERS)
    return buffers


def quantized_in_place(
    problem: ContractionProblem,
    contraction: ContractionCost,
    operands: Sequence[BlockOperand],
    buffers: BufferPlan,
    machine: Machine,
) -> Iterator[bool]:
    """For each quantization of the result, whether the contraction's tiles do it; the first have the room.

    ``buffers`` hold what there is besides.
    """
    chip = dict(zip(DIMS, contraction.chip_tile, strict=True))
    share = chip["g"] * chip["n"] * chip["p"] * chip["q"] * chip["o"] / problem.outputs
    for operand in operands:
        with_it = buffers.copy()
        for bits in planes_on_chip(operand, machine):
            with_it.take_striped("staged", -(-int(bits * share) // 8), depths=(2, 1), buffers=STAGED)
        fits = with_it.overflow is None and _holds_groups(problem, chip, operand, machine)
        if fits:
            buffers = with_it
        yield fits


def _holds_groups(
    problem: ContractionProblem, chip: Mapping[Dim, int], operand: BlockOperand, machine: Machine
) -> bool:
    """Whether a tile of all cores holds whole groups."""
    length = machine.group_length(operand)
    if not length:
        return True
    if operand.along is None:
        return False
    if operand.along == "o":
        grouped = replace(problem, output_group=length)
        return bool(holds_whole_groups(grouped, chip["g"], chip["o"]))
    return chip[operand.along] >= problem.extent(operand.along) or chip[operand.along] % length == 0
