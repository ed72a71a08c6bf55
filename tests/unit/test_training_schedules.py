"""Learning rates and the order of examples."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.training.learning_rate import LearningRate, Schedule
from flexc.training.order import order_of_epoch


def rates(rate: LearningRate, count: int = 12) -> list[float]:
    return [rate.at(step, steps_per_epoch=3, epochs=4) for step in range(count)]


def test_constant() -> None:
    assert rates(LearningRate(0.5)) == [0.5] * 12


def test_cosine_falls_to_zero_behind_the_last_step() -> None:
    rate = LearningRate(0.5, Schedule.COSINE)
    found = rates(rate)
    assert found[0] == 0.5
    assert found[6] == pytest.approx(0.25)
    assert found == sorted(found, reverse=True)
    assert rate.at(12, steps_per_epoch=3, epochs=4) == 0


def test_steps() -> None:
    rate = LearningRate(0.5, Schedule.STEPS, every_epochs=2, factor=0.1)
    assert rates(rate) == pytest.approx([0.5] * 6 + [0.05] * 6)


def test_an_order_is_a_permutation_of_its_own() -> None:
    orders = [order_of_epoch(300, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(300))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    np.testing.assert_array_equal(orders[1], order_of_epoch(300, seed=0, epoch=1))


def test_the_order_never_changes() -> None:
    assert order_of_epoch(8, seed=7, epoch=3).tolist() == ORDER


ORDER = [6, 1, 0, 3, 5, 2, 4, 7]
"""Written down once: resuming a run must find the order that it began with."""
