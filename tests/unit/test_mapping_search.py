"""The search: every layer maps, legally, always the same way, and no sampled mapping is much better."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.cost.clock import estimate
from flexc.diagnostics import CompileError
from flexc.ir.mapping import DIMS, Factor, Mapping
from flexc.mapping.array_options import array_options
from flexc.mapping.candidate_costs import compute_cycles, transfer_cycles
from flexc.mapping.legality import check
from flexc.mapping.loops import dram_loops
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import ORDERS, search
from flexc.mapping.tile_candidates import tile_candidates
from flexc.target import Target, catalog_names, load_target
from tests.mapping_problems import LAYERS, conv_problem, matmul_problem, small_problems

FLEXBLOCK = load_target("flexblock")
TARGETS = [load_target(name) for name in catalog_names()]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_map(name: str, target: Target) -> None:
    mapping = search(LAYERS[name], target)
    assert check(LAYERS[name], mapping, target) == []


@settings(max_examples=150, deadline=None)
@given(small_problems(), st.sampled_from(TARGETS))
def test_anything_small_maps(problem: ContractionProblem, target: Target) -> None:
    assert check(problem, search(problem, target), target) == []


@settings(max_examples=100, deadline=None)
@given(small_problems(), st.integers(32, 400), st.integers(16, 200))
def test_small_buffers_cut_everything_legally(
    problem: ContractionProblem, a_bytes: int, b_bytes: int
) -> None:
    small = replace(FLEXBLOCK, operand_buffer_bytes=a_bytes, held_buffer_bytes=2048 + b_bytes)
    if len(tile_candidates(problem, small)):
        assert check(problem, search(problem, small), small) == []
        return
    with pytest.raises(CompileError, match="FX413"):
        search(problem, small)


def test_k_stays_whole_where_conv_groups_are_cut_differently() -> None:
    problem = conv_problem((1, 30, 4, 4), 12, (1, 1), groups=3, group=(4, 4))
    assert problem.k_step is None
    small = replace(FLEXBLOCK, operand_buffer_bytes=32)
    with pytest.raises(CompileError, match="FX413"):
        search(problem, small)
    aligned = conv_problem((1, 36, 4, 4), 12, (1, 1), groups=3, group=(4, 4))
    mapping = search(aligned, small)
    assert mapping.tile_of("k") == 4
    assert check(aligned, mapping, small) == []


@settings(max_examples=60, deadline=None)
@given(small_problems(), st.data())
def test_no_sampled_mapping_is_much_better(problem: ContractionProblem, data: st.DataObject) -> None:
    best = estimate(problem, search(problem, FLEXBLOCK), FLEXBLOCK).cycles
    tiles, options = tile_candidates(problem, FLEXBLOCK), array_options(problem, FLEXBLOCK)
    for _ in range(10):
        row = data.draw(st.integers(0, len(tiles) - 1))
        option = data.draw(st.sampled_from(options))
        cores = tuple(Factor(dim, int(n)) for dim, n in zip(DIMS, tiles.cores[row], strict=True) if n > 1)
        tile = tuple(int(extent) for extent in tiles.tile[row])
        order = data.draw(st.sampled_from(ORDERS))
        other = Mapping(option.stream, option.lane, option.unit, option.pes, cores, tile, order)
        assert best <= 1.1 * estimate(problem, other, FLEXBLOCK).cycles


@pytest.mark.parametrize("name", LAYERS)
def test_ranking_follows_the_exact_estimate(name: str) -> None:
    problem = LAYERS[name]
    mapping = search(problem, FLEXBLOCK)
    exact = estimate(problem, mapping, FLEXBLOCK)
    tiles = tile_candidates(problem, FLEXBLOCK)
    cores = np.array([mapping.core_factor(dim) for dim in DIMS])
    row = np.flatnonzero((tiles.tile == mapping.tile).all(axis=1) & (tiles.cores == cores).all(axis=1))
    options = [
        option
        for option in array_options(problem, FLEXBLOCK)
        if (option.stream, option.lane, option.unit, option.pes)
        == (mapping.stream, mapping.lane, mapping.unit, mapping.pes)
    ]
    compute = compute_cycles(problem, FLEXBLOCK, tiles.take(row), options)
    transfers = transfer_cycles(problem, FLEXBLOCK, tiles.take(row))
    assert compute[0, 0] == pytest.approx(exact.compute_cycles, rel=0.03)
    assert transfers.load[0] == pytest.approx(exact.load_cycles, rel=0.01, abs=2)
    assert transfers.store[0] == pytest.approx(exact.store_cycles, rel=0.01, abs=2)


def test_same_in_another_process() -> None:
    script = (
        "from tests.mapping_problems import LAYERS; from flexc.mapping.search import search\n"
        "from flexc.target import load_target\n"
        "print(search(LAYERS['ragged_k'], load_target('flexblock')))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(search(LAYERS["ragged_k"], FLEXBLOCK))


def test_dram_loops() -> None:
    problem = conv_problem((1, 64, 8, 8), 32, (3, 3), pad=1)
    mapping = Mapping(
        "a", Factor("k", 12), Factor("o", 2), (), (Factor("o", 4),), (1, 1, 3, 8, 4, 64, 3, 3), ORDERS[1]
    )
    assert [(loop.dim, loop.chip_tile, loop.trips) for loop in dram_loops(problem, mapping)] == [
        ("g", 1, 1),
        ("o", 16, 2),
        ("n", 1, 1),
        ("p", 3, 3),
        ("q", 8, 1),
        ("k", 64, 1),
        ("r", 3, 1),
        ("s", 3, 1),
    ]


def test_cores_are_busy() -> None:
    for name, least in {
        "resnet_3x3": 0.85,
        "resnet_3x3_fb24": 0.9,
        "vgg_3x3": 0.85,
        "attention": 0.8,
    }.items():
        found = estimate(LAYERS[name], search(LAYERS[name], FLEXBLOCK), FLEXBLOCK)
        assert found.utilization.spatial > least, name


def test_whole_groups_of_the_next_quantization_are_preferred() -> None:
    problem = replace(conv_problem((1, 64, 14, 14), 256, (1, 1)), output_group=108)
    mapping = search(problem, FLEXBLOCK)
    assert mapping.tile_of("o") * mapping.core_factor("o") >= 256


def test_whole_groups_win_where_they_cost_next_to_nothing() -> None:
    """Hidden behind the cores' work, reading the result again would look free: it is charged all the same."""
    problem = replace(conv_problem((1, 64, 28, 28), 128, (3, 3), pad=1), output_group=108)
    plain, whole = (search(one, FLEXBLOCK) for one in (replace(problem, output_group=None), problem))
    assert plain.tile_of("o") * plain.core_factor("o") < 108
    assert whole.tile_of("o") * whole.core_factor("o") == 128
    cycles = [estimate(problem, mapping, FLEXBLOCK).cycles for mapping in (plain, whole)]
    assert cycles[1] < 1.03 * cycles[0]


def test_wide_sums_are_an_error() -> None:
    problem = ContractionProblem("matmul", (1, 1, 4, 1, 4, 600, 1, 1), 16, 16, 600, 600)
    assert problem.accumulator_bits == 40
    with pytest.raises(CompileError, match="FX412"):
        search(problem, FLEXBLOCK)
    widest = replace(problem, extents=(1, 1, 4, 1, 4, 512, 1, 1), a_group=512, b_group=512)
    assert widest.accumulator_bits == 39
    assert check(widest, search(widest, FLEXBLOCK), FLEXBLOCK) == []


def test_what_does_not_fit_names_demand_and_capacity() -> None:
    problem = ContractionProblem("matmul", (1, 1, 4, 1, 4, 40000, 1, 1), 8, 8, 40000, 108)
    with pytest.raises(CompileError) as failure:
        search(problem, FLEXBLOCK)
    (operand, held) = failure.value.diagnostics
    assert operand.code == held.code == "FX413"
    assert "40001 bytes" in operand.message
    assert "16384" in operand.message
    assert "operand_buffer_bytes" in operand.hint


def test_small_buffers_still_map() -> None:
    small = replace(FLEXBLOCK, operand_buffer_bytes=2048, held_buffer_bytes=4096, psum_buffer_bytes=512)
    for problem in (matmul_problem(1, 9, 500, 40), conv_problem((1, 32, 9, 9), 32, (3, 3), pad=1)):
        assert check(problem, search(problem, small), small) == []
