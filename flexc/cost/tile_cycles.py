"""Cycles that the cores spend on one buffer tile (machine description, "Clock").

A closed form over plain integers: it reads no IR, so a caller may take its arguments from a mapping or from
the fields of an instruction.

For each block of held values and each wave of segments, the streamed operand passes once for every lane step:

- a *wave* is the segments that a chain of PEs takes together; it lasts as many lane steps as its longest one;
- up to ``integer_accumulators`` outputs interleave during a wave, and the held operand is swapped between
  two lane steps, behind the lines of the previous one as far as there are any;
- at the end of a wave each of these outputs moves one word to and one from the psum buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import prod

from flexc.ir.mapping import OUTPUT_DIMS, Dim, Factor, PeFactor
from flexc.target.machine import Target

STREAMED_OUTPUTS: dict[str, tuple[Dim, ...]] = {"a": ("n", "p", "q"), "b": ("o",)}
"""Output dimensions that only the streamed operand indexes: the held values serve all of their positions."""


@dataclass(frozen=True)
class CoreRates:
    """What bounds a core apart from its multipliers."""

    swap_cycles: int
    """Cycles to exchange the held operand of a PE."""
    integer_accumulators: int
    """Outputs of a unit that may interleave."""
    fp32_adders: int
    """Partials of a PE that join accumulators a cycle."""
    psum_words_per_cycle: int
    """Accumulators that a core reads, and writes, a cycle."""
    fill_cycles: int
    """Cycles from the first line to the first result."""


def core_rates(target: Target, a_bits: int, b_bits: int) -> CoreRates:
    """The rates of a core of ``target`` with mantissas of ``a_bits`` and ``b_bits``."""
    held_bits = target.pe_shape(a_bits, b_bits).held_bits
    return CoreRates(
        -(-held_bits // target.line_bits_per_pe),
        target.integer_accumulators,
        target.pe_fp32_adders,
        target.psum_words_per_cycle,
        target.pipeline_fill_cycles,
    )


@dataclass(frozen=True)
class TileCycles:
    """Where the cycles of one tile go."""

    streamed_lines: int
    unhidden_swaps: int
    psum_stalls: int
    fill: int

    @property
    def total(self) -> int:
        """All cycles of the tile."""
        return self.streamed_lines + self.unhidden_swaps + self.psum_stalls + self.fill

    def __add__(self, other: TileCycles) -> TileCycles:
        """Both tiles, one after the other."""
        return TileCycles(
            self.streamed_lines + other.streamed_lines,
            self.unhidden_swaps + other.unhidden_swaps,
            self.psum_stalls + other.psum_stalls,
            self.fill + other.fill,
        )

    def times(self, count: int) -> TileCycles:
        """``count`` tiles alike."""
        return TileCycles(
            self.streamed_lines * count,
            self.unhidden_swaps * count,
            self.psum_stalls * count,
            self.fill * count,
        )


def tile_compute_cycles(
    rates: CoreRates,
    stream: str,
    lane: Factor,
    unit: Factor,
    pes: Sequence[PeFactor],
    outputs: Sequence[int],
    window: tuple[int, int],
    segments: Sequence[Sequence[int]],
) -> TileCycles:
    """Cycles of a tile with extents ``outputs`` of g, n, p, q, o and ``window`` of r, s.

    ``segments`` are the lengths of the segments of ``k``, for each g of the tile or once for all of them.
    """
    extents = dict(zip(OUTPUT_DIMS, outputs, strict=True))
    side_by_side = output_factors(lane, unit, pes)
    blocks = {dim: -(-extent // side_by_side[dim]) for dim, extent in extents.items()}
    streamed = prod(blocks[dim] for dim in STREAMED_OUTPUTS[stream])
    held = prod(blocks[dim] for dim in extents if dim != "g" and dim not in STREAMED_OUTPUTS[stream])
    words = prod(min(side_by_side[dim], extent) for dim, extent in extents.items())
    partials = (lane.factor if lane.dim != "k" else 1) * unit.factor
    least_steps = max(-(-words // rates.psum_words_per_cycle), -(-partials // rates.fp32_adders))

    waves_of_window = -(-window[0] // chain_factor("r", pes)) * -(-window[1] // chain_factor("s", pes))
    lanes = reduction_lanes(lane, pes)
    chained = chain_factor("k", pes)
    sizes = block_sizes(streamed, rates.integer_accumulators)
    lines = swaps = stalls = 0
    for steps_of_waves, times in _groups_in_lockstep(
        segments, extents["g"], side_by_side["g"], lanes, chained
    ):
        for steps in steps_of_waves:
            for size, count in sizes:
                streaming = steps * max(size, rates.swap_cycles)
                lines += times * count * steps * size
                swaps += times * count * (streaming - steps * size)
                stalls += times * count * max(0, size * least_steps - streaming)
    repeats = held * waves_of_window
    return TileCycles(
        lines * repeats, swaps * repeats, stalls * repeats, rates.fill_cycles + rates.swap_cycles
    )


def output_factors(lane: Factor, unit: Factor, pes: Sequence[PeFactor]) -> dict[Dim, int]:
    """How many iterations of each of ``OUTPUT_DIMS``, in their order, a core makes side by side."""
    side_by_side = dict.fromkeys(OUTPUT_DIMS, 1)
    for factor in (lane, unit):
        if factor.dim in side_by_side:
            side_by_side[factor.dim] *= factor.factor
    for pe in pes:
        if pe.role == "outputs" and pe.dim in side_by_side:
            side_by_side[pe.dim] *= pe.factor
    return side_by_side


def chain_factor(dim: Dim, pes: Sequence[PeFactor]) -> int:
    """How many iterations of a reduced dimension a chain of PEs takes side by side."""
    chained = 1
    for pe in pes:
        if pe.role == "chain" and pe.dim == dim:
            chained *= pe.factor
    return chained


def reduction_lanes(lane: Factor, pes: Sequence[PeFactor]) -> int:
    """Elements of one segment that a core sums a cycle."""
    return (lane.factor if lane.dim == "k" else 1) * prod(pe.factor for pe in pes if pe.role == "reduce")


def block_sizes(streamed: int, accumulators: int) -> tuple[tuple[int, int], ...]:
    """``streamed`` outputs in the fewest even blocks that the accumulators hold: (size, number of them)."""
    count = -(-streamed // accumulators)
    size, larger = divmod(streamed, count)
    return tuple((each, number) for each, number in ((size, count - larger), (size + 1, larger)) if number)


def wave_steps(segments: Sequence[int], lanes: int, chained: int) -> list[int]:
    """Lane steps of each wave: of the longest of ``chained`` segments in a row."""
    steps = [-(-length // lanes) for length in segments]
    return [max(steps[first : first + chained]) for first in range(0, len(steps), chained)]


def _groups_in_lockstep(
    segments: Sequence[Sequence[int]], groups: int, side_by_side: int, lanes: int, chained: int
) -> list[tuple[list[int], int]]:
    """Lane steps of the waves of conv groups side by side (the slowest), and how many such sets."""
    if len(segments) == 1:
        return [(wave_steps(segments[0], lanes, chained), -(-groups // side_by_side))]
    found = []
    for first in range(0, groups, side_by_side):
        steps = [wave_steps(each, lanes, chained) for each in segments[first : first + side_by_side]]
        found.append(([max(wave) for wave in zip_longest(*steps, fillvalue=0)], 1))
    return found
