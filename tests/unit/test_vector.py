"""The lane sum against its text, in orders that show; and the two-operand operations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import add, div, equal, greater, lane_sum, less, maximum, minimum, mul, sub, where

Float32Array = NDArray[np.float32]


def lane_sum_by_the_text(values: Float32Array) -> np.float32:
    """Numerics specification, section 3, one addition at a time."""
    lanes = [np.float32(0.0)] * 16
    with np.errstate(all="ignore"):
        for position, value in enumerate(values):
            lanes[position % 16] = lanes[position % 16] + value
        for half in (8, 4, 2, 1):
            for lane in range(half):
                lanes[lane] = lanes[lane] + lanes[lane + half]
    return lanes[0]


def wide_values(shape: tuple[int, ...]) -> Float32Array:
    """Values over sixty binades: almost every order of addition gives another sum."""
    rng = np.random.default_rng(11)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 30, shape)).astype(np.float32)


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 33, 100, 255, 4096, 5003])
def test_lane_sum_follows_the_text(length: int) -> None:
    v = wide_values((3, length))
    expected = np.array([lane_sum_by_the_text(row) for row in v])
    assert lane_sum(v).tobytes() == expected.tobytes()


def test_lane_sum_is_none_of_the_likely_mistakes() -> None:
    big, one = np.float32(2.0**24), np.float32(1.0)
    lanes_then_tree = np.zeros(48, np.float32)
    lanes_then_tree[[0, 16, 32]] = big, one, one
    assert lane_sum(lanes_then_tree) == big, "a lane adds its values one by one: each 1 is rounded away"
    neighbours = np.zeros(16, np.float32)
    neighbours[[0, 1, 9]] = big, one, one
    assert lane_sum(neighbours) == big + 2, "lane 1 joins lane 9 before it joins lane 0"
    halves = np.zeros(16, np.float32)
    halves[[0, 8, 4]] = big, one, one
    assert lane_sum(halves) == big, "lane 8 joins lane 0 before lane 4 does"


@pytest.mark.parametrize("length", [33, 160])
def test_lane_sum_does_not_depend_on_strides(length: int) -> None:
    v = wide_values((5, length))
    expected = lane_sum(v).tobytes()
    assert lane_sum(np.asfortranarray(v)).tobytes() == expected
    assert lane_sum(v[:, ::-1].copy()[:, ::-1]).tobytes() == expected
    assert lane_sum(v[::-1].copy()[::-1]).tobytes() == expected
    assert lane_sum(np.repeat(v, 2, axis=1)[:, ::2]).tobytes() == expected
    assert lane_sum(np.stack([v] * 3, axis=2).transpose(2, 0, 1))[1].tobytes() == expected


def test_lane_sum_of_a_broadcast_value() -> None:
    repeated = np.broadcast_to(np.float32(0.1), (2, 1000))
    assert lane_sum(repeated).tobytes() == lane_sum(repeated.copy()).tobytes()


def test_lane_sum_starts_from_plus_zero() -> None:
    for length in (0, 1, 16, 40):
        assert lane_sum(np.full(length, -0.0, np.float32)).tobytes() == np.float32(0.0).tobytes()


def test_lane_sum_propagates_nan_and_infinity() -> None:
    v = np.zeros((3, 20), np.float32)
    v[0, 3], v[1, 4], v[1, 9], v[2, 5] = np.nan, np.inf, -np.inf, -np.inf
    total = lane_sum(v)
    assert math.isnan(total[0])
    assert math.isnan(total[1])
    assert total[2] == -np.inf


def test_lane_sum_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="float64"):
        lane_sum(np.zeros(3))  # type: ignore[arg-type]


def bits(values: NDArray[np.float32]) -> list[int]:
    return list(values.view(np.uint32))


def test_equal_operands_give_the_first() -> None:
    plus, minus = np.array([0.0], np.float32), np.array([-0.0], np.float32)
    for choose in (maximum, minimum):
        assert bits(choose(plus, minus)) == bits(plus)
        assert bits(choose(minus, plus)) == bits(minus)
        many = choose(np.tile(minus, 100), np.tile(plus, 100))
        assert set(bits(many)) == set(bits(minus))


def test_nan_wins_a_comparison_from_either_side() -> None:
    nan, one = np.array([np.nan], np.float32), np.array([1.0], np.float32)
    for choose in (maximum, minimum):
        assert np.isnan(choose(nan, one)).all()
        assert np.isnan(choose(one, nan)).all()
    assert maximum(np.array([1, 5]), np.array([3, 2])).tolist() == [3, 5]


def test_arithmetic_is_one_rounding_and_never_warns() -> None:
    x = np.array([1.0, 3e38, 1e-38, 0.0], np.float32)
    y = np.array([2.0**-24, 3e38, 1e-7, 0.0], np.float32)
    assert add(x, y).tolist() == [1.0, math.inf, float(np.float32(1e-7)), 0.0]
    assert sub(x, y)[0] == np.float32(1.0 - 2.0**-24)
    assert 0 < mul(x, y)[2] < 2.0**-126, "a subnormal product is kept"
    assert math.isnan(div(x, y)[3])
    assert div(x[:1], np.zeros(1, np.float32))[0] == math.inf


def test_integer_division_cuts_towards_zero() -> None:
    x, y = np.array([7, -7, 7, -7, 6]), np.array([2, 2, -2, -2, -3])
    assert div(x, y).tolist() == [3, -3, -3, 3, -2]
    with pytest.raises(ZeroDivisionError):
        div(x, np.zeros(5, np.int64))


def test_comparisons_and_choice() -> None:
    x, y = np.array([1.0, 2.0, np.nan, -0.0], np.float32), np.array([1.0, 3.0, np.nan, 0.0], np.float32)
    assert equal(x, y).tolist() == [True, False, False, True]
    assert less(x, y).tolist() == [False, True, False, False]
    assert greater(y, x).tolist() == [False, True, False, False]
    assert bits(where(np.array([True, False, True, True]), x, y)) == bits(
        np.array([1, 3, np.nan, -0.0], np.float32)
    )


@pytest.mark.parametrize(
    "shapes", [((2, 3, 4),) * 3, ((3, 1), (1, 4), (4,)), ((4,), (), (2, 1)), ((), (), ())]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_choice_keeps_every_bit_of_broadcast_operands(
    shapes: tuple[tuple[int, ...], ...], dtype: type[np.float32] | type[np.int64]
) -> None:
    random = np.random.default_rng(0)
    condition = random.random(shapes[0]) < 0.5
    words = random.integers(-(2**31), 2**31, (2, 24)).astype(np.int32)
    x, *ys = (row[: math.prod(shape)].reshape(shape) for row, shape in zip(words, shapes[1:], strict=True))
    ys += [np.zeros(shapes[2], np.int32), np.full(shapes[2], -(2**31), np.int32)]
    for y in ys:
        operands = [v.view(np.float32) if dtype is np.float32 else v.astype(np.int64) for v in (x, y)]
        found, expected = where(condition, *operands), np.where(condition, *operands)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert found.tobytes() == expected.tobytes()


def test_lane_sum_drops_the_last_axis() -> None:
    assert lane_sum(np.ones(20, np.float32)).shape == ()
    assert lane_sum(np.ones((3, 20), np.float32)).shape == (3,)
    assert lane_sum(np.ones((3, 4, 0), np.float32)).tolist() == [[0.0] * 4] * 3
