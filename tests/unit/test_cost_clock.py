"""The closed-form clock against slow walks of the same machine, and what it reports."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.cost.clock import estimate
from flexc.cost.energy import array_energy, contraction_energy_pj, dram_energy, multiply_pj, sram_pj_per_bit
from flexc.cost.operand_loads import dma_cycles
from flexc.cost.tile_cycles import CoreRates, TileCycles, core_rates, tile_compute_cycles
from flexc.ir.mapping import DIMS, OUTPUT_DIMS, Dim, Factor, Mapping, PeFactor
from flexc.mapping.loops import A_DIMS, B_DIMS
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.mapping.segments import segment_lengths, tile_segments
from flexc.target import load_target
from tests.mapping_problems import LAYERS, conv_problem, small_problems

FLEXBLOCK = load_target("flexblock")
RATES = CoreRates(
    swap_cycles=2, integer_accumulators=16, fp32_adders=4, psum_words_per_cycle=36, fill_cycles=12
)
ORDER: tuple[Dim, ...] = ("g", "n", "p", "q", "o", "k", "r", "s")


def in_chunks(count: int, size: int) -> list[list[int]]:
    """0 .. count in runs of ``size``."""
    return [list(range(first, min(first + size, count))) for first in range(0, count, size)]


def even_blocks(count: int, most: int) -> list[int]:
    """Sizes of the fewest blocks of at most ``most`` that hold ``count``, as even as can be."""
    blocks = -(-count // most)
    return [count // blocks + (index < count % blocks) for index in range(blocks)]


def walked_cycles(
    rates: CoreRates,
    mapping: Mapping,
    outputs: tuple[int, ...],
    window: tuple[int, int],
    segments: list[tuple[int, ...]],
) -> TileCycles:
    """A tile walked block by block, wave by wave, lane step by lane step."""
    extents = dict(zip(OUTPUT_DIMS, outputs, strict=True))
    wide = dict.fromkeys(DIMS, 1)
    chain = {"k": 1, "r": 1, "s": 1}
    lanes = mapping.lane.factor if mapping.lane.dim == "k" else 1
    for factor in (mapping.lane, mapping.unit):
        wide[factor.dim] *= factor.factor
    for pe in mapping.pes:
        if pe.role == "chain":
            chain[pe.dim] *= pe.factor
        elif pe.role == "reduce":
            lanes *= pe.factor
        else:
            wide[pe.dim] *= pe.factor
    pixels: tuple[Dim, ...] = ("n", "p", "q")
    channels: tuple[Dim, ...] = ("o",)
    streamed_dims, held_dims = (pixels, channels) if mapping.stream == "a" else (channels, pixels)
    positions = 1
    for dim in streamed_dims:
        positions *= len(in_chunks(extents[dim], wide[dim]))
    words = 1
    for dim in OUTPUT_DIMS:
        words *= min(wide[dim], extents[dim])
    partials = mapping.unit.factor * (1 if mapping.lane.dim == "k" else mapping.lane.factor)
    lines = swaps = stalls = 0
    for groups in in_chunks(extents["g"], wide["g"]):
        for _ in product(*(in_chunks(extents[dim], wide[dim]) for dim in held_dims)):
            runs = [segments[g] if len(segments) > 1 else segments[0] for g in groups]
            for wave in in_chunks(max(map(len, runs)), chain["k"]):
                steps = max(-(-run[at] // lanes) for run in runs for at in wave if at < len(run))
                for _ in product(in_chunks(window[0], chain["r"]), in_chunks(window[1], chain["s"])):
                    for block in even_blocks(positions, rates.integer_accumulators):
                        cycles = 0
                        for _ in range(steps):
                            lines += block
                            swaps += max(0, rates.swap_cycles - block)
                            cycles += max(block, rates.swap_cycles)
                        moved = block * -(-words // rates.psum_words_per_cycle)
                        added = block * -(-partials // rates.fp32_adders)
                        stalls += max(0, moved - cycles, added - cycles)
    return TileCycles(lines, swaps, stalls, rates.fill_cycles + rates.swap_cycles)


@st.composite
def core_mappings(draw: st.DrawFn) -> Mapping:
    """Spatial factors of a core; tiles and loops do not matter here."""
    stream: Literal["a", "b"] = draw(st.sampled_from(("a", "b")))
    unit_dims: tuple[Dim, ...] = ("o",) if stream == "a" else ("n", "p", "q")
    lane = draw(st.sampled_from((Factor("k", 12), Factor("k", 6), Factor("g", 2), Factor("o", 3))))
    pes = draw(
        st.lists(
            st.sampled_from(
                (
                    PeFactor("outputs", "o", 3),
                    PeFactor("outputs", "q", 3),
                    PeFactor("outputs", "g", 3),
                    PeFactor("reduce", "k", 3),
                    PeFactor("chain", "r", 3),
                    PeFactor("chain", "s", 3),
                    PeFactor("chain", "k", 3),
                )
            ),
            max_size=2,
            unique=True,
        )
    )
    unit = Factor(draw(st.sampled_from(unit_dims)), draw(st.integers(1, 4)))
    return Mapping(stream, lane, unit, tuple(pes), (), (1,) * 8, ORDER)


@settings(max_examples=200, deadline=None)
@given(
    core_mappings(),
    st.tuples(*(st.integers(1, size) for size in (3, 2, 4, 20, 7))),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple), min_size=3, max_size=3),
    st.booleans(),
    st.builds(
        CoreRates, st.integers(1, 6), st.integers(1, 16), st.integers(1, 4), st.integers(1, 36), st.just(5)
    ),
)
def test_a_tile_takes_what_a_walk_takes(
    mapping: Mapping,
    outputs: tuple[int, ...],
    window: tuple[int, int],
    segments: list[tuple[int, ...]],
    alike: bool,
    rates: CoreRates,
) -> None:
    given_segments = segments[:1] if alike or outputs[0] == 1 else segments[: outputs[0]]
    found = tile_compute_cycles(
        rates, mapping.stream, mapping.lane, mapping.unit, mapping.pes, outputs, window, given_segments
    )
    assert found == walked_cycles(rates, mapping, outputs, window, given_segments)


@pytest.mark.parametrize(
    ("pes", "expected"),
    [
        ((), TileCycles(9 * 9 * 32 * 2, 0, 0, 14)),
        ((PeFactor("chain", "r", 3), PeFactor("chain", "s", 3)), TileCycles(9 * 32 * 2, 0, 0, 14)),
        ((PeFactor("reduce", "k", 9),), TileCycles(9 * 32 * 2, 0, 0, 14)),
        ((PeFactor("outputs", "q", 9),), TileCycles(9 * 9 * 4 * 2, 0, 0, 14)),
        ((PeFactor("outputs", "o", 9),), TileCycles(9 * 9 * 32, 0, 0, 14)),
    ],
)
def test_a_tile_by_hand(pes: tuple[PeFactor, ...], expected: TileCycles) -> None:
    # 32 pixels, 4 channels by 2 units, 3 x 3 taps, a segment of 108 elements on 12 lanes: 9 lane steps.
    lines = tile_compute_cycles(
        RATES, "a", Factor("k", 12), Factor("o", 2), pes, (1, 1, 1, 32, 4), (3, 3), [(108,)]
    )
    assert lines == expected


def test_swaps_hide_behind_lines() -> None:
    def swaps(pixels: int) -> int:
        return tile_compute_cycles(
            replace(RATES, swap_cycles=4),
            "a",
            Factor("k", 24),
            Factor("o", 4),
            (),
            (1, 1, 1, pixels, 4),
            (1, 1),
            [(48,)],
        ).unhidden_swaps

    assert [swaps(pixels) for pixels in (1, 2, 3, 4, 5, 16, 17)] == [6, 4, 2, 0, 0, 0, 0]


def test_psum_words_stall() -> None:
    slow = replace(RATES, psum_words_per_cycle=6)
    lane, unit, pes = Factor("k", 12), Factor("o", 2), (PeFactor("outputs", "q", 9),)
    found = tile_compute_cycles(slow, "a", lane, unit, pes, (1, 1, 1, 144, 2), (1, 1), [(12,)])
    assert (found.streamed_lines, found.psum_stalls) == (16, 32)
    # Two lane steps a segment leave the psum buffer twice the time.
    found = tile_compute_cycles(slow, "a", lane, unit, pes, (1, 1, 1, 144, 2), (1, 1), [(24,)])
    assert (found.streamed_lines, found.psum_stalls) == (32, 16)


def core_boxes(problem: ContractionProblem, mapping: Mapping, dim: Dim) -> list[list[range]]:
    """Iterations of ``dim`` that each core does, for each chip tile."""
    extent, tile, cores = problem.extent(dim), mapping.tile_of(dim), mapping.core_factor(dim)
    return [
        [
            range(min(first + core * tile, extent), min(first + (core + 1) * tile, extent))
            for core in range(cores)
        ]
        for first in range(0, extent, tile * cores)
    ]


def walked_estimate(problem: ContractionProblem, mapping: Mapping) -> tuple[int, int, int, int]:
    """Core cycles, bytes of a, bytes of b and outputs, from a walk over chip tiles with the loads hoisted."""
    rates = core_rates(FLEXBLOCK, problem.a_bits, problem.b_bits)
    counters = {dim: list(enumerate(core_boxes(problem, mapping, dim))) for dim in DIMS}
    cycles = a_bytes = b_bytes = outputs = 0
    loaded: dict[str, tuple[int, ...]] = {}
    for tiles in product(*(counters[dim] for dim in mapping.order)):
        boxes = {dim: cores for dim, (_, cores) in zip(mapping.order, tiles, strict=True)}
        at = {dim: index for dim, (index, _) in zip(mapping.order, tiles, strict=True)}
        slowest = 0
        for core in product(*(boxes[dim] for dim in DIMS)):
            box = dict(zip(DIMS, core, strict=True))
            if any(len(each) == 0 for each in core):
                continue
            segments = [tile_segments(problem, g, box["k"].start, box["k"].stop) for g in box["g"]]
            sizes = tuple(len(box[dim]) for dim in OUTPUT_DIMS)
            window = len(box["r"]), len(box["s"])
            slowest = max(slowest, walked_cycles(rates, mapping, sizes, window, segments).total)
        cycles += slowest
        # Conv groups share the exponents of one channel axis.
        of_exponents = A_DIMS - {"g"} if problem.grouped_channels else A_DIMS
        for operand, dims in (("a", A_DIMS), ("exponents of a", of_exponents), ("b", B_DIMS)):
            position = tuple(at[dim] for dim in DIMS if dim in dims)
            if loaded.get(operand) == position:
                continue
            loaded[operand] = position
            chip = {dim: set().union(*boxes[dim]) for dim in DIMS}
            mantissas, exponents = walked_a_bytes(problem, mapping, boxes, chip)
            if operand == "a":
                a_bytes += mantissas
            elif operand == "exponents of a":
                a_bytes += exponents
            else:
                b_bytes += walked_b_bytes(problem, chip)
        if at["k"] == at["r"] == at["s"] == 0:
            outputs += len(list(product(*(set().union(*boxes[dim]) for dim in OUTPUT_DIMS))))
    return cycles, a_bytes, b_bytes, outputs


def walked_a_bytes(
    problem: ContractionProblem, mapping: Mapping, boxes: dict[Dim, list[range]], chip: dict[Dim, set[int]]
) -> tuple[int, int]:
    """Mantissas and exponents of a in one chip tile: the pixels of all cores' full boxes, each once."""
    channels = [(g, k) for g in chip["g"] for k in chip["k"]]
    if problem.kind == "matmul":
        vectors, elements = len(chip["g"]) * len(chip["p"]), len(chip["k"])
        exponents = vectors * len({k // problem.a_group for k in chip["k"]})
        return -(-vectors * elements * problem.a_bits // 8), exponents
    lines = [set[int](), set[int]()]
    axes: tuple[tuple[Dim, Dim], ...] = (("p", "r"), ("q", "s"))
    for axis, (dim, tap) in enumerate(axes):
        size, stride, dilation = problem.input_extents[axis], problem.stride[axis], problem.dilation[axis]
        starts = [cores.start for cores in boxes[dim][:1]]
        tile, taps = mapping.tile_of(dim), len(chip[tap])
        for core in range(mapping.core_factor(dim)):
            first = (starts[0] + core * tile) * stride - problem.pads[axis]
            span = (tile - 1) * stride + (taps - 1) * dilation + 1
            step = stride if taps == 1 else 1
            if taps > 1 and problem.pass_ == "weight_grad" and problem.extent(dim) == 1:
                step = dilation
            read = range(first, first + span, step)
            lines[axis] |= {line for line in read if 0 <= line < size}
    pixels = len(chip["n"]) * len(lines[0]) * len(lines[1])
    mantissas = -(-pixels * len(channels) * problem.a_bits // 8)
    if problem.extent("g") > 1:
        every = problem.extent("g") * problem.extent("k")
        return mantissas, pixels * len({channel // problem.a_group for channel in range(every)})
    return mantissas, pixels * len({k // problem.a_group for k in chip["k"]})


def walked_b_bytes(problem: ContractionProblem, chip: dict[Dim, set[int]]) -> int:
    """Bytes of operand b in one chip tile."""
    vectors = len(chip["g"]) * len(chip["o"])
    taps = len(chip["r"]) * len(chip["s"])
    mantissas = -(-vectors * taps * len(chip["k"]) * problem.b_bits // 8)
    if problem.b_group_dim == "window":
        return mantissas + vectors
    return mantissas + vectors * taps * len({k // problem.b_group for k in chip["k"]})


@settings(max_examples=150, deadline=None)
@given(small_problems(), st.data())
def test_the_estimate_is_what_a_walk_counts(problem: ContractionProblem, data: st.DataObject) -> None:
    mapping = search(problem, FLEXBLOCK)
    smaller = {dim: data.draw(st.integers(1, mapping.tile_of(dim))) for dim in OUTPUT_DIMS}
    mapping = replace(mapping, tile=(*smaller.values(), *mapping.tile[5:]))
    found = estimate(problem, mapping, FLEXBLOCK)
    cycles, a_bytes, b_bytes, outputs = walked_estimate(problem, mapping)
    assert (found.compute_cycles, found.a_bytes, found.b_bytes) == (cycles, a_bytes, b_bytes)
    assert found.output_bytes == 4 * outputs
    assert found.macs == problem.macs


def test_conv_groups_that_are_cut_differently() -> None:
    # Channels 0-6, 7-13, 14-20 in groups of four: two segments, three, three. The second core has the last.
    problem = conv_problem((1, 21, 5, 5), 12, (1, 1), groups=3, group=(4, 7))
    mapping = Mapping(
        "a", Factor("k", 12), Factor("o", 2), (), (Factor("g", 2),), (2, 1, 5, 5, 4, 7, 1, 1), ORDER
    )
    assert estimate(problem, mapping, FLEXBLOCK).compute_cycles == walked_estimate(problem, mapping)[0]


def test_an_operand_stays_while_inner_loops_leave_it() -> None:
    problem = conv_problem((1, 32, 16, 16), 64, (1, 1))
    mapping = Mapping("a", Factor("k", 12), Factor("o", 2), (), (), (1, 1, 4, 16, 16, 32, 1, 1), ORDER)
    o_outside = replace(mapping, order=("g", "o", "n", "p", "q", "k", "r", "s"))
    a_once, b_once = 16 * 16 * 33, 64 * 33
    found = [estimate(problem, each, FLEXBLOCK) for each in (mapping, o_outside)]
    assert [(each.a_bytes, each.b_bytes) for each in found] == [(a_once, 4 * b_once), (4 * a_once, b_once)]
    assert [each.loads for each in found] == [2 * (4 + 16), 2 * (16 + 4)]


def test_halo_rows_of_neighbouring_cores_are_read_once() -> None:
    problem = conv_problem((1, 8, 16, 16), 8, (3, 3), pad=1)
    mapping = Mapping(
        "a", Factor("k", 12), Factor("o", 2), (), (Factor("p", 4),), (1, 1, 2, 16, 8, 8, 3, 3), ORDER
    )
    # Two chip tiles of eight rows: rows -1 to 8 and 7 to 16, of which 9 and 9 exist.
    assert estimate(problem, mapping, FLEXBLOCK).a_bytes == (9 + 9) * 16 * (8 + 1)


def test_a_strided_pointwise_convolution_reads_only_what_it_uses() -> None:
    problem = conv_problem((1, 8, 16, 16), 8, (1, 1), stride=2)
    found = estimate(problem, search(problem, FLEXBLOCK), FLEXBLOCK)
    assert found.a_bytes == 8 * 8 * (8 + 1)


def test_cycles_overlap() -> None:
    for name in ("resnet_3x3", "vgg_linear", "depthwise_3x3"):
        found = estimate(LAYERS[name], search(LAYERS[name], FLEXBLOCK), FLEXBLOCK)
        busiest = max(found.compute_cycles, found.load_cycles, found.store_cycles)
        together = found.compute_cycles + found.load_cycles + found.store_cycles
        assert busiest < found.cycles < together
    assert estimate(LAYERS["vgg_linear"], search(LAYERS["vgg_linear"], FLEXBLOCK), FLEXBLOCK).limit == "DRAM"


def test_dma() -> None:
    assert dma_cycles(FLEXBLOCK, 1, 1) == 51
    assert dma_cycles(FLEXBLOCK, 128 * 7, 3) == 157


@pytest.mark.parametrize("name", LAYERS)
def test_levels_of_utilization_multiply(name: str) -> None:
    problem = LAYERS[name]
    mapping = search(problem, FLEXBLOCK)
    found = estimate(problem, mapping, FLEXBLOCK).utilization
    product_of_levels = found.lanes * found.units * found.pes * found.cores * found.streaming
    assert product_of_levels == pytest.approx(found.spatial)
    levels = (found.spatial, found.lanes, found.units, found.pes, found.cores, found.streaming)
    assert all(0 < level <= 1 + 1e-9 for level in levels), found


def test_what_limits() -> None:
    def limit(problem: ContractionProblem) -> str:
        return estimate(problem, search(problem, FLEXBLOCK), FLEXBLOCK).utilization.limit

    assert limit(conv_problem((64, 3, 64, 64), 64, (7, 7), stride=2, pad=3)) == "lanes"
    assert limit(LAYERS["depthwise_3x3"]) == "fp32 adders"


def test_segments() -> None:
    assert segment_lengths(0, 300, ((0, 108),)) == (108, 108, 84)
    assert segment_lengths(0, 80, ((80, 108), (0, 80))) == (28, 52)
    assert segment_lengths(0, 10, ((0, 4), (0, 6))) == (4, 2, 2, 2)
    assert segment_lengths(216, 300, ((0, 108), (0, 216))) == (84,)
    assert segment_lengths(5, 9, ((0, 5),)) == (4,)


def test_energy() -> None:
    problem = LAYERS["resnet_3x3"]
    mapping = search(problem, FLEXBLOCK)
    found = estimate(problem, mapping, FLEXBLOCK)
    energy = contraction_energy_pj(problem, mapping, FLEXBLOCK, found)
    dram = found.dma_bytes * 8 * 4.0
    parts = array_energy(problem, mapping, FLEXBLOCK, found) + dram_energy(FLEXBLOCK, found.dma_bytes)
    assert parts.total == pytest.approx(energy)
    assert parts.dram == pytest.approx(dram)
    assert min(parts.multipliers, parts.adders, parts.lines, parts.buffers) > 0
    assert (parts.converters, parts.vector, parts.lightnorm) == (0, 0, 0)
    products = problem.macs * (multiply_pj(FLEXBLOCK, 8, 8) + 0.1)
    assert dram + products < energy < 5 * (dram + products)
    assert contraction_energy_pj(
        problem, mapping, replace(FLEXBLOCK, dram_pj_per_bit=0.0), found
    ) == pytest.approx(energy - dram)
    assert multiply_pj(FLEXBLOCK, 4, 4) == pytest.approx(16 * 0.0031)
    assert multiply_pj(FLEXBLOCK, 16, 16) == pytest.approx(3 * 256 * 0.0031)
    assert sram_pj_per_bit(FLEXBLOCK, 32 * 1024) == pytest.approx(20 / 64)
