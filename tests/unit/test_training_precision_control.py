"""Dynamic precision: when contractions change their format, and that they come to rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.precision.layers import Layer, LayerKind
from flexc.precision.policy import Operand, TrainingPass
from flexc.precision.policy_file import parse_policy
from flexc.training.precision_control import ControlOptions, Decision, PrecisionController
from flexc.training.zero_setting import ContractionPoint, Format, MeasuredOperand, QuantizedOperand

POINT = ContractionPoint("conv[1]", TrainingPass.FORWARD)
OTHER = ContractionPoint('"b"\n', TrainingPass.WEIGHT_GRAD)
OPTIONS = ControlOptions(low=0.1, high=0.3, hold=2, period=5, settle=1)


def measured(error: float, narrower: float | None, point: ContractionPoint = POINT) -> MeasuredOperand:
    operand = QuantizedOperand("x", Format(16, (1, 54, 1, 1), "included"), ((point, Operand.WEIGHT),))
    return MeasuredOperand(operand, error, narrower)


def follow(
    controller: PrecisionController, errors: Callable[[int], float], periods: int, first: int = 0
) -> list[Decision]:
    """Runs periods in which the contraction's error depends on its width, as ``errors`` tells."""
    found = []
    bits = 16
    for entry in controller.to_json()["points"]:
        if entry["layer"] == POINT.layer:
            bits = entry["bits"]
    for step in range(first * 5 + 1, (first + periods) * 5 + 1):
        if step % 5 == 1:
            narrower = errors(bits // 2) if bits > 4 else None
            controller.observe([measured(errors(bits), narrower)])
        decisions = controller.after_step(step)
        found += decisions
        for decision in decisions:
            bits = decision.after_bits
    return found


def test_steps_down_after_settling_and_holding() -> None:
    decisions = follow(PrecisionController(OPTIONS, [POINT]), lambda bits: 0.0, 8)
    assert [(one.step, one.before_bits, one.after_bits) for one in decisions] == [(15, 16, 8), (25, 8, 4)]


def test_stays_where_the_narrower_format_would_lose_too_much() -> None:
    controller = PrecisionController(OPTIONS, [POINT])
    decisions = follow(controller, {16: 0.0, 8: 0.05, 4: 0.4}.__getitem__, 30)
    assert [one.after_bits for one in decisions] == [8]


def test_stays_between_the_thresholds() -> None:
    assert not follow(PrecisionController(OPTIONS, [POINT]), lambda bits: 0.2, 30)


def test_steps_up_and_a_reversal_doubles_the_hold() -> None:
    controller = PrecisionController(OPTIONS, [POINT])
    assert len(follow(controller, lambda bits: 0.0, 6)) == 2
    rising = follow(controller, lambda bits: 0.5, 20, first=6)
    assert [(one.after_bits, one.hold) for one in rising] == [(8, 4), (16, 4)]
    falling = follow(controller, lambda bits: 0.0, 30, first=26)
    assert [(one.after_bits, one.hold) for one in falling] == [(8, 8), (4, 8)]
    assert falling[0].step - 26 * 5 == 4 * 5


def test_a_good_period_between_bad_ones_starts_the_count_again() -> None:
    controller = PrecisionController(OPTIONS, [POINT])
    for period in range(1, 13):
        controller.observe([measured(0.0 if period % 2 else 0.2, 0.0)])
        assert controller.after_step(5 * period) == []


def test_a_contraction_without_measurements_stays() -> None:
    controller = PrecisionController(OPTIONS, [POINT, OTHER])
    assert {one.point for one in follow(controller, lambda bits: 0.0, 6)} == {POINT}


def test_a_restored_controller_decides_alike() -> None:
    ahead, whole = (PrecisionController(OPTIONS, [POINT, OTHER]) for _ in range(2))
    follow(ahead, lambda bits: 0.0, 4)
    restored = PrecisionController(OPTIONS, [POINT, OTHER])
    restored.restore(json.loads(json.dumps(ahead.to_json())))
    assert follow(restored, lambda bits: 0.0, 4, first=4) == follow(whole, lambda bits: 0.0, 8)[1:]
    assert restored.to_json() == whole.to_json()


def test_the_policy_says_what_is_in_force() -> None:
    controller = PrecisionController(OPTIONS, [POINT, OTHER])
    follow(controller, lambda bits: 0.0, 8)
    policy = parse_policy(controller.policy_text(), "policy.toml")
    layer = Layer(POINT.layer, frozenset({LayerKind.CONV}))
    bits = {
        pass_: found.block.mantissa_bits
        for pass_ in TrainingPass
        if (found := policy.operand(layer, Operand.GRADIENT, pass_)) is not None
    }
    assert bits == {TrainingPass.FORWARD: 4, TrainingPass.LOCAL_GRAD: 16, TrainingPass.WEIGHT_GRAD: 16}
    assert len(policy.overrides) == 2
    assert policy.overrides[1].matches(Layer(OTHER.layer, frozenset({LayerKind.CONV})))


ERROR = st.sampled_from([0.0, 0.05, 0.0999, 0.1, 0.2, 0.3, 0.3001, 0.6, 1.0])
PERIODS = st.lists(st.one_of(st.none(), st.tuples(ERROR, ERROR)), min_size=1, max_size=120)


@given(PERIODS, st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_whatever_the_errors_decisions_follow_the_rules(
    periods: list[tuple[float, float] | None], hold: int, settle: int
) -> None:
    options = ControlOptions(low=0.1, high=0.3, hold=hold, period=1, settle=settle)
    controller = PrecisionController(options, [POINT])
    bits, direction, needed, last = 16, 0, hold, settle
    for number, pair in enumerate(periods, start=1):
        if pair is not None:
            controller.observe([measured(pair[0], pair[1] if bits > 4 else None)])
        for decision in controller.after_step(number):
            assert abs(bits.bit_length() - decision.after_bits.bit_length()) == 1
            assert decision.before_bits == bits
            seen = [one for one in periods[last:number] if one is not None][-needed:]
            assert len(seen) == needed
            moved = -1 if decision.after_bits < bits else 1
            if moved < 0:
                assert all(error < 0.1 and narrower < 0.3 for error, narrower in seen)
            else:
                assert all(error > 0.3 for error, _ in seen)
            needed *= 2 if direction == -moved else 1
            assert decision.hold == needed
            bits, direction, last = decision.after_bits, moved, number


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_errors_that_flip_with_every_change_come_to_rest(length: int) -> None:
    """An adversary: errors that ask for the other direction whenever the width has changed."""
    options = ControlOptions(low=0.1, high=0.3, hold=length, period=1, settle=0)
    controller = PrecisionController(options, [POINT])
    bits, wants_less, changes = 16, True, []
    for period in range(1, 4097):
        error = 0.0 if wants_less else 1.0
        controller.observe([measured(error, error if bits > 4 else None)])
        for decision in controller.after_step(period):
            bits, wants_less = decision.after_bits, not wants_less
            changes.append(period)
    gaps = [later - earlier for earlier, later in pairwise(changes)]
    assert gaps == [length * 2**number for number in range(len(gaps))]
    assert len(changes) <= 13


@given(PERIODS, st.integers(0, 119))
@settings(max_examples=60, deadline=None)
def test_restored_anywhere_it_decides_alike(periods: list[tuple[float, float] | None], stop: int) -> None:
    whole, restored = (PrecisionController(OPTIONS, [POINT, OTHER]) for _ in range(2))
    for step, pair in enumerate(periods, start=1):
        decisions = []
        for controller in (whole, restored):
            if pair is not None:
                controller.observe([measured(*pair), measured(pair[1], pair[0], OTHER)])
            decisions.append(controller.after_step(step))
        assert decisions[0] == decisions[1]
        if step == stop:
            restored = PrecisionController(OPTIONS, [POINT, OTHER])
            restored.restore(json.loads(json.dumps(whole.to_json())))
    assert whole.to_json() == restored.to_json()


def test_narrower_formats_bring_their_group_length() -> None:
    assert Format(16, (1, 54, 1, 1), "included").narrower() == Format(8, (1, 108, 1, 1), "included")
    assert Format(8, (108, 1), "included").narrower() == Format(4, (216, 1), "included")
    assert Format(8, (1, 1, 3, 3), "included").narrower() == Format(4, (1, 1, 3, 3), "included")
    assert Format(4, (216, 1), "included").narrower() is None
