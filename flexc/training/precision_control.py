"""Dynamic precision: each contraction of each layer steps between 16, 8 and 4 bits by its zero-setting error.

The error of a contraction is the mean over its operands (or over another signal of
:mod:`flexc.training.signals`) and over the measurements of a period of steps. When
it was below ``low`` for ``hold`` periods in a row, and below ``high`` in the next narrower format too, the
contraction steps down; above ``high`` for ``hold`` periods it steps up. Changing direction doubles the
contraction's ``hold``, so that one whose errors lie across both thresholds comes to rest.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flexc.diagnostics import error
from flexc.precision.policy import Override, Policy, Setting, TrainingPass
from flexc.precision.policy_file import BUILT_IN_FORMATS
from flexc.precision.policy_text import policy_text
from flexc.training.signals import Signal
from flexc.training.zero_setting import NARROWER, ContractionPoint, MeasuredOperand

WIDER = {narrow: wide for wide, narrow in NARROWER.items()}
FORMAT_NAMES = {16: "FB24", 8: "FB16", 4: "FB12"}


@dataclass(frozen=True)
class ControlOptions:
    """Thresholds of the mean zero-setting error, and time in periods of ``period`` steps.

    The first ``settle`` periods change nothing: weights move fast at first, and their errors with them.
    ``signal`` is what the errors are those of. Raises CompileError FX310 unless ``low`` is below ``high``.
    """

    low: float = 0.2
    high: float = 0.4
    hold: int = 2
    period: int = 20
    settle: int = 1
    signal: Signal = Signal.OPERANDS

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise error("FX310", f"the lower threshold {self.low} is not below the upper one, {self.high}")


@dataclass(frozen=True)
class Decision:
    """A change of format behind ``step``, and the errors of the period that led to it."""

    step: int
    point: ContractionPoint
    before_bits: int
    after_bits: int
    error: float
    narrower_error: float | None
    hold: int


@dataclass
class PointState:
    """What is remembered of a contraction; ``direction`` is that of its last change, 0 before any."""

    bits: int = 16
    hold: int = 0
    direction: int = 0
    periods_below: int = 0
    periods_above: int = 0
    errors: list[float] = field(default_factory=list)
    narrower_errors: list[float] = field(default_factory=list)


class PrecisionController:
    """Follows errors, decides, and writes the policy that is in force."""

    def __init__(self, options: ControlOptions, points: Iterable[ContractionPoint]) -> None:
        self._options = options
        self._periods = 0
        self._states = {point: PointState(hold=options.hold) for point in points}

    def observe(self, measured: Iterable[MeasuredOperand]) -> None:
        """Takes note of the operands measured in a step."""
        for one in measured:
            for point, _ in one.operand.uses:
                state = self._states[point]
                state.errors.append(one.error)
                if one.narrower is not None:
                    state.narrower_errors.append(one.narrower)

    def after_step(self, step: int) -> list[Decision]:
        """The changes that take effect behind ``step`` (counted from 1): none but at the end of a period."""
        if step % self._options.period:
            return []
        self._periods += 1
        settled = self._periods > self._options.settle
        decisions = [
            decision
            for point, state in self._states.items()
            if settled and (decision := self._decide(step, point, state)) is not None
        ]
        for state in self._states.values():
            state.errors, state.narrower_errors = [], []
        return decisions

    def _decide(self, step: int, point: ContractionPoint, state: PointState) -> Decision | None:
        if not state.errors:
            return None
        error = _mean(state.errors)
        narrower = _mean(state.narrower_errors) if state.narrower_errors else None
        below = error < self._options.low and narrower is not None and narrower < self._options.high
        above = error > self._options.high and state.bits in WIDER
        state.periods_below = state.periods_below + 1 if below else 0
        state.periods_above = state.periods_above + 1 if above else 0
        if max(state.periods_below, state.periods_above) < state.hold:
            return None
        direction = -1 if below else 1
        if state.direction == -direction:
            state.hold *= 2
        before = state.bits
        state.bits = (NARROWER if below else WIDER)[before]
        state.direction, state.periods_below, state.periods_above = direction, 0, 0
        return Decision(step, point, before, state.bits, error, narrower, state.hold)

    def policy_text(self) -> str:
        """The policy in force, as a policy file (docs/policies.md)."""
        settings: dict[str, list[Setting]] = {}
        for point, state in self._states.items():
            chosen = BUILT_IN_FORMATS[FORMAT_NAMES[state.bits]]
            settings.setdefault(point.layer, []).append(Setting(point.training_pass, format=chosen))
        overrides = (Override(tuple(found), node=glob.escape(layer)) for layer, found in settings.items())
        widest = (Setting(format=BUILT_IN_FORMATS["FB24"]),)
        return policy_text(
            Policy("dynamic", "Formats that zero-setting errors led to.", widest, tuple(overrides))
        )

    def to_json(self) -> dict[str, Any]:
        """The whole state, for :meth:`restore`."""
        states = [
            {"layer": point.layer, "pass": str(point.training_pass), **asdict(state)}
            for point, state in self._states.items()
        ]
        return {"periods": self._periods, "points": states}

    def restore(self, found: Mapping[str, Any]) -> None:
        """Takes back what :meth:`to_json` gave."""
        self._periods = found["periods"]
        for entry in found["points"]:
            rest = dict(entry)
            point = ContractionPoint(rest.pop("layer"), TrainingPass(rest.pop("pass")))
            self._states[point] = PointState(**rest)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
