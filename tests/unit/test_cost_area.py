"""Areas of datapaths: counted by hand, and arrays resized to an area."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexc.cost.area import DatapathArea, baseline_area, best_grid, flexblock_area, resized
from flexc.target import load_target
from flexc.target.baseline import ReductionTree
from flexc.target.load_baseline import baseline_names, load_baseline

FLEXBLOCK = load_target("flexblock")


def test_flexblock_part_by_part() -> None:
    pes = 16 * 9
    found = flexblock_area(FLEXBLOCK)
    assert found.multipliers == pytest.approx(pes * 96 * 3.4 * 16 * 3.8)
    assert found.trees == pytest.approx(pes * 4 * 23 * 16 * 4.3)
    assert found.accumulators == pytest.approx(pes * 4 * (40 * 4.3 + 16 * 40 * 4.5))
    assert found.fp32_adders == pytest.approx(pes * 4 * 4184)
    assert found.registers == pytest.approx(pes * (2 * 384 + 96) * 4.5)
    parts = (found.multipliers, found.trees, found.accumulators, found.fp32_adders, found.registers)
    assert found.total == pytest.approx(sum(parts))


def test_a_bf16_cell_by_hand() -> None:
    found = baseline_area(load_baseline("bf16-systolic"), FLEXBLOCK.area)
    cell = 3.4 * 64 + 36 + 4184 + (3 * 16 + 32) * 4.5
    assert found.total == pytest.approx(32 * 32 * cell)


def test_a_tree_is_larger_by_its_factor() -> None:
    sigma = load_baseline("sigma-bf16")
    assert isinstance(sigma.array, ReductionTree)
    flat = replace(sigma, array=replace(sigma.array, pe_area_factor=1.0))
    larger, plain = (baseline_area(one, FLEXBLOCK.area) for one in (sigma, flat))
    assert larger.total == pytest.approx(1.38 * plain.total)
    assert plain.trees == 0


def test_integer_grids_add_in_fp32_once_a_column() -> None:
    hbfp = load_baseline("hbfp8-systolic")
    assert baseline_area(hbfp, FLEXBLOCK.area).fp32_adders == 64 * 4184


@pytest.mark.parametrize("name", baseline_names())
def test_every_entry_counts_once(name: str) -> None:
    """Twice every area is twice the area."""
    baseline = load_baseline(name)
    doubled = replace(
        FLEXBLOCK.area,
        **{
            key: replace(entry, value=2 * entry.value)
            for key, entry in vars(FLEXBLOCK.area).items()
            if key != "composed_multiply_factor"
        },
    )
    once = baseline_area(baseline, FLEXBLOCK.area)
    twice = baseline_area(baseline, doubled)
    assert twice.total == pytest.approx(2 * once.total)


@given(st.integers(1, 20_000))
def test_grids_fit_and_are_nearly_square(cells: int) -> None:
    rows, columns = best_grid(cells)
    assert rows * columns <= cells
    if cells >= 16:
        assert rows % 4 == columns % 4 == 0
        assert max(rows, columns) <= 2 * min(rows, columns)
        assert rows * columns >= 0.5 * cells
    if cells >= 1000:
        assert rows * columns >= 0.93 * cells


def test_resizing_keeps_the_rest() -> None:
    assert resized(load_baseline("sigma-bf16"), 77) == ReductionTree(77, 1.38)
    assert vars(resized(load_baseline("fast-bfp"), 1425)) == {
        "rows": 32,
        "columns": 44,
        "products_per_cell": 16,
        "weight_double_buffer": True,
    }


def test_areas_add_part_by_part() -> None:
    one, two = DatapathArea(1, 2, 3, 4, 5), DatapathArea(10, 20, 30, 40, 50)
    assert one + two == DatapathArea(11, 22, 33, 44, 55)
    assert two == one.times(10)
