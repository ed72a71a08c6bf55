"""The bits of stochastic rounding, against one word at a time in Python integers."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.numerics import random_bits, stream_of
from flexc.numerics.random_bits import mix


@pytest.mark.parametrize(
    ("seed", "stream"), [(0, 0), (2167757117, 1048583), (2**32 - 1, 2**32 - 1), (2**40 + 3, 7)]
)
def test_bits_are_those_of_the_flat_index(seed: int, stream: int) -> None:
    shape = (3, 5, 70)
    expected = [mix(i * 0x9E3779B9 + mix(seed ^ mix(stream))) >> 16 for i in range(3 * 5 * 70)]
    np.testing.assert_array_equal(random_bits(shape, seed=seed, stream=stream).ravel(), expected)


def test_streams_number_nodes_and_steps() -> None:
    assert stream_of(0, 7) == 7
    assert stream_of(1, 7) == 4096 + 7
    assert stream_of(2**20, 1) == 1


def test_bits_are_spread_evenly() -> None:
    bits = random_bits((1 << 16,), seed=1, stream=2)
    assert bits.max() < 1 << 16
    assert abs(bits.mean() - 2**15) < 400
    assert len(np.unique(bits)) > 40_000
