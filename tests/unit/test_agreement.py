"""The comparison of both backends: bits, not values, and the first difference in order."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.backends.agreement import Agreement, compare, first_difference, range_difference

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_equal_bytes_agree_whatever_the_strides() -> None:
    assert first_difference("x", X, np.asfortranarray(X)) is None


def test_zeros_of_both_signs_differ() -> None:
    other = X.copy()
    other[0, 0] = -0.0
    found = first_difference("x", X, other)
    assert found is not None
    assert (found.index, found.executor_bits, found.stream_bits) == ((0, 0), "00000000", "80000000")


def test_the_first_difference_is_in_row_major_order() -> None:
    other = X.copy(order="F")
    other[1, 0] = 9
    other[0, 2] = 7
    found = first_difference("x", X, other)
    assert found is not None
    assert (found.index, found.executor_value, found.stream_value) == ((0, 2), 2.0, 7.0)
    assert str(found) == "'x' at [0, 2]: executor 2.0 (0x40000000), stream 7.0 (0x40e00000)"


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
def test_other_dtypes_are_compared_too(dtype: type[np.generic]) -> None:
    left = np.array([0, 1, 1]).astype(dtype)
    right = np.array([0, 1, 0]).astype(dtype)
    assert first_difference("x", left, left.copy()) is None
    found = first_difference("x", left, right)
    assert found is not None
    assert found.index == (2,)


def test_a_range_is_in_the_order_of_values() -> None:
    low, high = np.array([-1.0, 0.0], np.float32), np.array([1.0, 0.0], np.float32)
    assert range_difference("x", low, high, np.array([1.0, -0.0], np.float32)) is None
    above = range_difference("x", low, high, np.array([1.5, 0.0], np.float32))
    assert above is not None
    assert (above.index, above.executor_value, above.stream_value) == ((0,), 1.0, 1.5)
    below = range_difference("x", low, high, np.array([0.0, -1e-40], np.float32))
    assert below is not None
    assert (below.index, below.executor_value) == ((1,), 0.0)


def test_a_nan_is_in_no_range() -> None:
    assert range_difference("x", X - 1, X + 1, np.full_like(X, np.nan)) is not None


def test_other_shapes_are_a_bug() -> None:
    with pytest.raises(ValueError, match="'x' is float32"):
        first_difference("x", X, X[:1])


def test_comparison_stops_at_the_first_tensor_that_differs() -> None:
    executor = {"a": X, "only executor": X, "b": X, "c": X}
    stream = {"c": X + 1, "b": X + 1, "a": X, "only stream": X}
    found = compare(executor, stream)
    assert found.compared == ("a", "b")
    assert found.difference is not None
    assert found.difference.tensor == "b"
    assert found.then(compare({"d": X}, {"d": X})) is found


def test_agreement_counts_what_was_compared_how() -> None:
    found = compare({"a": X}, {"a": X}).then(Agreement(("b",), None, ("c",), ("d",)))
    assert found == Agreement(("a", "b"), None, ("c",), ("d",))
    assert (found.exact, found.total) == (False, 3)
    assert compare({"a": X}, {"a": X}).exact
