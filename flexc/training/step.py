"""One training step: run, checked for NaN and infinities, with operands measured where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation

from flexc.backends.executor.run import Keep, Value
from flexc.datasets.arrays import Examples
from flexc.diagnostics import CompileError, Place, error
from flexc.ir.attributes import place_of
from flexc.ir.value_names import value_names
from flexc.numerics import BlockTensor
from flexc.passes.differentiation.signature import CORRECT, LABELS, LEARNING_RATE, LOSS, STEP, TARGETS
from flexc.program import Program
from flexc.training.signals import Signal, signals_of
from flexc.training.zero_setting import ContractionPoint, ErrorProbe, MeasuredOperand, quantized_operands

Array: TypeAlias = npt.NDArray[Any]
State: TypeAlias = dict[str, Array]
NOT_FINITE = "FX601"
"""What a program raises where quantized arithmetic meets a NaN or an infinity."""


@dataclass(frozen=True)
class StepResult:
    """The loss, how many examples were classified right (None without classes), and the next state.

    ``measured`` are the operands of contractions, ``signals`` what dynamic precision follows.
    """

    loss: float
    correct: int | None
    state: State
    measured: tuple[MeasuredOperand, ...]
    signals: tuple[MeasuredOperand, ...]


class TrainingStep:
    """The program of a training step and what is measured of it."""

    def __init__(
        self, program: Program, input_name: str, classes: int, signal: Signal = Signal.OPERANDS
    ) -> None:
        self.program = program
        self.operands = quantized_operands(program.graph)
        self._signal = signal
        self._signals = () if signal is Signal.OPERANDS else signals_of(program.graph, signal)
        self._input_name = input_name
        self._classes = classes
        self._wants = {spec.name for spec in program.inputs}
        names = value_names(program.graph.main)
        arguments = zip(program.graph.input_names, program.graph.main.body.block.args, strict=True)
        self._variables = {name: names[value] for name, value in arguments}

    def run(
        self,
        batch: Examples,
        state: Mapping[str, Array],
        *,
        learning_rate: float,
        step: int,
        measure: bool | None,
    ) -> StepResult:
        """Step number ``step`` (from 1 on) from ``state``.

        ``measure``: None measures nothing; False the operands' errors; True the signals of dynamic precision
        and errors in narrower formats, too.
        Raises CompileError FX602 for a NaN or an infinity, which names the op and the tensor that has it.
        """
        given = self._inputs(batch, state, learning_rate, step)
        probes = () if measure is None else self._probes(measure)
        keep = _together(probes)
        if keep is not None:
            keep(**{self._variables[name]: value for name, value in given.items()})
        try:
            with np.errstate(all="ignore"):
                results = self.program.run(given, keep=keep)
        except CompileError as failure:
            if failure.diagnostics[0].code != NOT_FINITE:
                raise
            raise self._not_finite(given, step, failure) from failure
        following = {name: results[name] for name in state}
        if not all(np.isfinite(value).all() for value in (results[LOSS], *following.values())):
            raise self._not_finite(given, step, None)
        correct = results.get(CORRECT)
        measured = [tuple(probe.measured) for probe in probes] or [()]
        loss = float(results[LOSS])
        hits = None if correct is None else int(correct)
        return StepResult(loss, hits, following, measured[0], measured[-1])

    def _probes(self, decides: bool) -> tuple[ErrorProbe, ...]:
        """What measures the operands and, where they are others, the signals that decide."""
        if not decides or self._signal is Signal.OPERANDS:
            return (ErrorProbe(self.operands, narrower=decides),)
        signals = ErrorProbe(self._signals, narrower=True, count_zeros=True)
        return ErrorProbe(self.operands, narrower=False), signals

    def _inputs(
        self, batch: Examples, state: Mapping[str, Array], learning_rate: float, step: int
    ) -> dict[str, Array]:
        one_hot = np.equal.outer(batch.labels, np.arange(self._classes))
        possible: dict[str, Array] = {
            LABELS: batch.labels,
            TARGETS: one_hot.astype(np.float32),
            LEARNING_RATE: np.asarray(learning_rate, np.float32),
            STEP: np.asarray(step, np.int64),
        }
        wanted = {name: value for name, value in possible.items() if name in self._wants}
        return {self._input_name: batch.images, **wanted, **state}

    def _not_finite(self, given: dict[str, Array], step: int, failure: CompileError | None) -> CompileError:
        """The error that names the first op whose result has a NaN or an infinity, found by a second run."""
        finder = _FirstNotFinite()
        try:
            with np.errstate(all="ignore"):
                self.program.run(given, keep=finder)
        except CompileError:
            assert failure is not None
        if finder.variable is None:
            assert failure is not None
            met = failure.diagnostics[0]
            place, what = met.place, f"{met.message}, {met.detail}"
        else:
            place, what = self._origin(finder)
        return error(
            "FX602",
            f"a NaN or an infinity in step {step}",
            place=place,
            detail=what,
            hint="a lower learning rate, or wider formats; the last checkpoint is as it was",
        )

    def _origin(self, finder: _FirstNotFinite) -> tuple[Place, str]:
        graph = self.program.graph
        for value, name in value_names(graph.main).items():
            if name == finder.variable:
                owner = value.owner
                place = place_of(owner, graph.file) if isinstance(owner, Operation) else Place(graph.file)
                kind = owner.name if isinstance(owner, Operation) else "an input"
                return place, f"tensor '{name}' of {kind} at index {list(finder.index)}"
        raise LookupError(f"the program has no variable {finder.variable}")

    def widths(self) -> dict[ContractionPoint, int]:
        """Mantissa bits of each quantized contraction, those of the wider operand."""
        found: dict[ContractionPoint, int] = {}
        for operand in self.operands:
            for point, _ in operand.uses:
                found[point] = max(found.get(point, 0), operand.format.mantissa_bits)
        return found


def _together(probes: tuple[ErrorProbe, ...]) -> Keep | None:
    """One that hands everything to all of ``probes``."""
    if not probes:
        return None

    def keep(**values: Value) -> None:
        for probe in probes:
            probe(**values)

    return keep


class _FirstNotFinite:
    """A Keep that remembers the first variable with a NaN or an infinity."""

    def __init__(self) -> None:
        self.variable: str | None = None
        self.index: tuple[int, ...] = ()

    def __call__(self, /, **values: Value) -> None:
        for name, value in values.items():
            if self.variable is not None or isinstance(value, BlockTensor):
                continue
            wrong = ~np.isfinite(value)
            if wrong.any():
                self.variable = name
                self.index = tuple(int(i) for i in np.argwhere(wrong)[0])


def errors_by_class(measured: Iterable[MeasuredOperand]) -> dict[str, list[float]]:
    """Errors by class (activation, weight, gradient); a tensor counts once in each class that it is in."""
    found: dict[str, list[float]] = {}
    for one in measured:
        for operand in dict.fromkeys(operand for _, operand in one.operand.uses):
            found.setdefault(str(operand), []).append(one.error)
    return found
