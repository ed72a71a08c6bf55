"""Baselines: their files, their folds against slow walks, SCALE-Sim's cycles layer by layer."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.cost.baselines.contraction import BaselineEstimate, baseline_estimate, in_format, pooled
from flexc.cost.baselines.folds import fold_model
from flexc.cost.baselines.weight_stationary import WeightStationaryFolds
from flexc.diagnostics import CompileError
from flexc.mapping.problem import ContractionProblem
from flexc.target import load_target
from flexc.target.baseline import Baseline, ChunkSerial, ReductionTree, WeightStationary
from flexc.target.load_baseline import BASELINES, baseline_names, load_baseline, parse_baseline
from tests.mapping_problems import LAYERS

FLEXBLOCK = load_target("flexblock")
TEXT = (BASELINES / "bf16-systolic.toml").read_text()


def estimated(problem: ContractionProblem, baseline: Baseline) -> BaselineEstimate:
    """The estimate in the baseline's own format."""
    return baseline_estimate(in_format(problem, baseline.numerics), baseline, FLEXBLOCK)


def test_catalog() -> None:
    assert {"bf16-systolic", "hbfp8-systolic", "int8-systolic", "sigma-bf16", "fast-bfp"} <= set(
        baseline_names()
    )
    for name in baseline_names():
        assert load_baseline(name).name == name


@pytest.mark.parametrize(
    ("before", "after", "code", "message"),
    [
        ("rows = 32", "", "FX403", "no value for 'weight_stationary.rows'"),
        ("rows = 32", "rows = 0", "FX404", "'weight_stationary.rows' is 0"),
        ("rows = 32", "rows = 32\nrow = 1", "FX403", "unknown key 'weight_stationary.row'"),
        ("weight_double_buffer = true", "weight_double_buffer = 1", "FX403", "must be true or false"),
        ('format = "bf16"', 'format = "bf15"', "FX404", "'numerics.format' is 'bf15'"),
        ("[weight_stationary]", "[weight_stationery]", "FX403", "0 arrays"),
        ("[weight_stationary]", "[chunk_serial]\n[weight_stationary]", "FX403", "2 arrays"),
        ("stored_bits = 16", 'stored_bits = "16"', "FX403", "'numerics.stored_bits' must be an integer"),
    ],
)
def test_strict(before: str, after: str, code: str, message: str) -> None:
    assert before in TEXT
    with pytest.raises(CompileError) as failure:
        parse_baseline(TEXT.replace(before, after, 1).encode(), "b.toml")
    found = [(each.code, each.message) for each in failure.value.diagnostics]
    assert any(each == code and message in text for each, text in found), found


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_weight_stationary_folds_are_those_of_a_walk(
    rows: int, columns: int, double_buffer: bool, reduced: int, outputs: int, streamed: int
) -> None:
    """One fold after the other, each output of a row leaving at its own cycle."""
    model = WeightStationaryFolds(rows, columns, double_buffer)
    cycles = 0
    for _ in product(range(0, reduced, rows), range(0, outputs, columns)):
        cycles += 0 if double_buffer else rows
        leaves = [(row + rows - 1) + (columns - 1) + 1 for row in range(streamed)]
        cycles += max(leaves)
    assert model.folds(1, reduced, outputs) * (model.overhead_cycles + streamed * model.row_cycles) == cycles


def test_groups_lie_side_by_side_on_a_diagonal() -> None:
    model = WeightStationaryFolds(32, 32, True)
    assert model.folds(96, 9, 1) == 32
    assert model.folds(97, 9, 1) == 33
    assert model.folds(4, 33, 1) == 8


def test_the_tree_loses_only_the_last_partial_fold() -> None:
    model = fold_model(ReductionTree(100, 1.38), 1)
    assert [model.folds(g, 9, o) for g, o in ((1, 11), (1, 12), (11, 1), (100, 1))] == [1, 2, 1, 9]


def test_chunks_cost_cycles_and_wide_operands_passes() -> None:
    serial = fold_model(ChunkSerial(4, 4, 16, True), 8)
    assert (serial.row_cycles, serial.folds(1, 64, 4), serial.folds(1, 65, 4)) == (8, 1, 2)
    wide = fold_model(WeightStationary(4, 4, True), 4)
    assert (wide.row_cycles, wide.folds(1, 4, 4)) == (1, 4)
    numerics = load_baseline("int8-systolic").numerics
    passes = [numerics.multiplications(one) for one in ("forward", "local_grad", "weight_grad")]
    assert passes == [1, 1, 4]
    assert load_baseline("fast-bfp").numerics.multiplications("forward") == 4
    assert load_baseline("bf16-systolic").numerics.multiplications("weight_grad") == 1


@pytest.mark.parametrize("name", baseline_names())
def test_estimates_are_possible(name: str) -> None:
    """No array multiplies more than it has multipliers, nor reads less than each operand once."""
    baseline = load_baseline(name)
    array = baseline.array
    products = array.pes if isinstance(array, ReductionTree) else array.rows * array.columns
    if isinstance(array, ChunkSerial):
        products *= array.products_per_cell
    for problem in LAYERS.values():
        found = estimated(problem, baseline)
        multiplications = problem.macs * baseline.numerics.multiplications(problem.pass_)
        assert found.macs == problem.macs
        assert found.compute_cycles * products >= multiplications
        stationary = problem.extent("g") * problem.extent("o") * problem.extent("k")
        taps = problem.extent("r") * problem.extent("s")
        bits = baseline.numerics.operand_bits(problem.pass_)
        assert found.operands.b_bytes >= stationary * taps * bits // 8


def test_tiles_change_folds_not_work() -> None:
    """Small buffers mean more tiles: more bytes and cycles, the same products."""
    baseline = load_baseline("bf16-systolic")
    problem = in_format(LAYERS["resnet_3x3"], baseline.numerics)
    small = replace(FLEXBLOCK, cores=1)
    roomy, cramped = (baseline_estimate(problem, baseline, each) for each in (FLEXBLOCK, small))
    assert cramped.operands.tiles > roomy.operands.tiles
    assert cramped.compute_cycles > roomy.compute_cycles
    assert (
        cramped.operands.a_bytes + cramped.operands.b_bytes > roomy.operands.a_bytes + roomy.operands.b_bytes
    )


@pytest.mark.parametrize("name", baseline_names())
def test_cycles_are_folds_and_streamed_rows(name: str) -> None:
    baseline = load_baseline(name)
    for problem in LAYERS.values():
        found = estimated(problem, baseline)
        model = fold_model(baseline.array, baseline.numerics.multiplications(problem.pass_))
        cycles = found.folds * model.overhead_cycles + found.streamed_rows * model.row_cycles
        assert found.compute_cycles == cycles


def test_pooled_buffers_are_those_of_all_cores() -> None:
    chip = pooled(FLEXBLOCK)
    assert chip.cores * chip.operand_buffer_bytes == FLEXBLOCK.cores * FLEXBLOCK.operand_buffer_bytes
