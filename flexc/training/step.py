"""One training step: run, checked for NaN and infinities, with operands measured where that is asked for.

A step is one program, or the gradients of its micro-batches one after another and then the update.
"""

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
from flexc.passes.differentiation.signature import CORRECT, LEARNING_RATE, LOSS, STEP
from flexc.program import Program
from flexc.training.binding import Binding
from flexc.training.labels import LabelUse
from flexc.training.signals import Signal, signals_of
from flexc.training.zero_setting import ContractionPoint, ErrorProbe, MeasuredOperand, quantized_operands

Array: TypeAlias = npt.NDArray[Any]
State: TypeAlias = dict[str, Array]
NOT_FINITE = "FX601"
"""What a program raises where quantized arithmetic meets a NaN or an infinity."""


@dataclass(frozen=True)
class StepPrograms:
    """``main``: the whole step, or the gradients of one of ``micro_batches``, which ``update`` follows."""

    main: Program
    update: Program | None = None
    micro_batches: int = 1

    @property
    def first_state(self) -> State:
        """What the first step starts from: weights, state of the optimizer, statistics."""
        sums = self.zero_sums()
        main = {name: value for name, value in self.main.first_state.items() if name not in sums}
        return {**({} if self.update is None else self.update.first_state), **main}

    def zero_sums(self) -> State:
        """The sums of gradients that the first micro-batch adds to."""
        if self.update is None:
            return {}
        sums = {spec.name for spec in self.update.inputs} - set(self.update.carried)
        return {name: value for name, value in self.main.first_state.items() if name in sums}


@dataclass(frozen=True)
class StepResult:
    """The loss, how many labels were classified right (None without classes), and the next state.

    ``measured`` are the operands of contractions, ``signals`` what dynamic precision follows.
    """

    loss: float
    correct: int | None
    state: State
    measured: tuple[MeasuredOperand, ...]
    signals: tuple[MeasuredOperand, ...]


class TrainingStep:
    """The programs of a training step and what is measured of them."""

    def __init__(
        self,
        programs: StepPrograms,
        binding: Binding,
        labels: LabelUse,
        signal: Signal = Signal.OPERANDS,
    ) -> None:
        graph = programs.main.graph
        self.programs = programs
        self.operands = quantized_operands(graph)
        self._signal = signal
        self._signals = () if signal is Signal.OPERANDS else signals_of(graph, signal)
        self._binding, self._labels = binding, labels
        names = value_names(graph.main)
        arguments = zip(graph.input_names, graph.main.body.block.args, strict=True)
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

        The loss of micro-batches is the fp32 mean of theirs, added from the first to the last; each draws
        random bits as a step of its own would, numbered on through the run.
        ``measure``: None measures nothing; False the operands' errors; True the signals of dynamic precision
        and errors in narrower formats, too.
        Raises CompileError FX602 for a NaN or an infinity, which names the op and the tensor that has it.
        """
        programs, count = self.programs, self.programs.micro_batches
        carried = {**state, **programs.zero_sums()}
        probes = () if measure is None else self._probes(measure)
        rate = {LEARNING_RATE: np.asarray(learning_rate, np.float32)}
        losses: list[np.float32] = []
        correct: int | None = None
        for number in range(count):
            rows = len(batch) // count
            part = batch.take(np.arange(number * rows, (number + 1) * rows))
            counter = {STEP: np.asarray((step - 1) * count + number + 1, np.int64)}
            fed = {**self._binding.inputs_of(part), **self._labels.inputs_of(part)}
            results = self._run(programs.main, {**fed, **rate, **counter, **carried}, step, probes)
            carried |= {name: results[name] for name in carried if name in results}
            losses.append(np.float32(results[LOSS].reshape(())[()]))
            if CORRECT in results:
                correct = (correct or 0) + int(results[CORRECT])
        if programs.update is not None:
            results = self._run(
                programs.update, {**rate, STEP: np.asarray(step, np.int64), **carried}, step, ()
            )
            carried |= {name: results[name] for name in carried if name in results}
        following = {name: carried[name] for name in state}
        measured = [tuple(probe.measured) for probe in probes] or [()]
        return StepResult(_mean(losses), correct, following, measured[0], measured[-1])

    def _probes(self, decides: bool) -> tuple[ErrorProbe, ...]:
        """What measures the operands and, where they are others, the signals that decide."""
        if not decides or self._signal is Signal.OPERANDS:
            return (ErrorProbe(self.operands, narrower=decides),)
        signals = ErrorProbe(self._signals, narrower=True, count_zeros=True)
        return ErrorProbe(self.operands, narrower=False), signals

    def _run(
        self, program: Program, possible: Mapping[str, Array], step: int, probes: tuple[ErrorProbe, ...]
    ) -> dict[str, Array]:
        """The results of a program for what it takes of ``possible``."""
        given = {spec.name: possible[spec.name] for spec in program.inputs}
        keep = _together(probes)
        if keep is not None:
            keep(**{self._variables[name]: value for name, value in given.items()})
        try:
            with np.errstate(all="ignore"):
                results = program.run(given, keep=keep)
        except CompileError as failure:
            if failure.diagnostics[0].code != NOT_FINITE:
                raise
            raise _not_finite(program, given, step, failure) from failure
        if not all(np.isfinite(value).all() for value in results.values()):
            raise _not_finite(program, given, step, None)
        return results

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


def _mean(losses: list[np.float32]) -> float:
    total = losses[0]
    for loss in losses[1:]:
        total = np.float32(total + loss)
    return float(np.float32(total / np.float32(len(losses))))


def _not_finite(
    program: Program, given: dict[str, Array], step: int, failure: CompileError | None
) -> CompileError:
    """The error that names the first op whose result has a NaN or an infinity, found by a second run."""
    finder = _FirstNotFinite()
    try:
        with np.errstate(all="ignore"):
            program.run(given, keep=finder)
    except CompileError:
        assert failure is not None
    if finder.variable is None:
        assert failure is not None
        met = failure.diagnostics[0]
        place, what = met.place, f"{met.message}, {met.detail}"
    else:
        place, what = _origin(program, finder)
    return error(
        "FX602",
        f"a NaN or an infinity in step {step}",
        place=place,
        detail=what,
        hint="a lower learning rate, or wider formats; the last checkpoint is as it was",
    )


def _origin(program: Program, finder: _FirstNotFinite) -> tuple[Place, str]:
    graph = program.graph
    for value, name in value_names(graph.main).items():
        if name == finder.variable:
            owner = value.owner
            place = place_of(owner, graph.file) if isinstance(owner, Operation) else Place(graph.file)
            kind = owner.name if isinstance(owner, Operation) else "an input"
            return place, f"tensor '{name}' of {kind} at index {list(finder.index)}"
    raise LookupError(f"the program has no variable {finder.variable}")


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
