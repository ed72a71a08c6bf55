"""A run: epochs of steps, tested and kept in a folder; a checkpoint continues it as if never interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from flexc.datasets.arrays import DataSet
from flexc.datasets.choice import load_data_set
from flexc.diagnostics import CompileError, Place, error
from flexc.options import Profile
from flexc.precision.policy import Operand
from flexc.training.checkpoint import Checkpoint, read_checkpoint, replace_text, write_checkpoint
from flexc.training.evaluation import Evaluation, evaluate
from flexc.training.machine_cost import cost_of_step
from flexc.training.metrics import EpochMetrics, EpochSums, EpochTime, read_times, write_tables
from flexc.training.model import TrainedModel, load_trained_model
from flexc.training.order import order_of_epoch
from flexc.training.precision_control import ControlOptions, Decision, PrecisionController
from flexc.training.settings import RUN_FILE, RunRecord, RunSettings, record_of
from flexc.training.signals import Signal
from flexc.training.step import StepResult, TrainingStep, errors_by_class

DYNAMIC_POLICY_FILE = "policy.toml"
WIDEST_POLICY = "FB24"


@dataclass(frozen=True)
class StepReport:
    """Where a run stands: ``step`` of ``steps`` in all, and means over the epoch so far."""

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float | None
    errors: dict[str, float]
    examples_per_second: float


class Observer(Protocol):
    """Is told what happens."""

    def step(self, report: StepReport) -> None:
        """A step is done."""
        ...

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch is done, tested and kept."""
        ...

    def decision(self, decision: Decision) -> None:
        """A contraction gets another format from the next step on."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How far a run has come; ``interrupted`` if it was asked to stop before its end."""

    step: int
    interrupted: bool
    metrics: tuple[EpochMetrics, ...]


def train(
    settings: RunSettings, folder: Path, *, resume: bool, observer: Observer, stop: Callable[[], bool]
) -> Outcome:
    """Runs ``settings`` in ``folder`` to the end, or until ``stop``, which is asked after every step.

    ``resume`` continues a run of the same settings. Raises CompileError: FX56x for the data, FX570 to FX572
    for the folder, FX602 for a NaN or an infinity, and those of compilation.
    """
    data = load_data_set(settings.data, settings.label)
    model = load_trained_model(Path(settings.model), data, batch=settings.batch, options=settings.training)
    existed = folder.exists()
    _open_folder(folder, record_of(settings, data, model.binding), resume=resume)
    try:
        run = _Run(settings, folder, data, model, observer)
    except CompileError:
        if not resume:
            _empty_again(folder, existed=existed)
        raise
    return run.train(stop)


def _open_folder(folder: Path, record: RunRecord, *, resume: bool) -> None:
    if resume:
        record.require_same(RunRecord.read(folder), folder)
        return
    if (folder / RUN_FILE).exists():
        raise error(
            "FX570", "the folder holds a run", place=Place(str(folder)),
            hint="continue it with --resume, or name another folder",
        )  # fmt: skip
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise error("FX570", "this is no new or empty folder", place=Place(str(folder)))
    folder.mkdir(parents=True, exist_ok=True)
    record.write(folder)


def _empty_again(folder: Path, *, existed: bool) -> None:
    """Leaves the folder of a run that cannot begin as it was: empty, or not there."""
    for file in folder.iterdir():
        file.unlink()
    if not existed:
        folder.rmdir()


class _Run:
    def __init__(
        self, settings: RunSettings, folder: Path, data: DataSet, model: TrainedModel, observer: Observer
    ) -> None:
        self.settings, self.folder, self.data, self.model = settings, folder, data, model
        self.observer = observer
        self.steps_per_epoch = len(data.train) // settings.batch
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.step = 0
        self.sums = EpochSums()
        self.metrics: list[EpochMetrics] = []
        self.times: list[EpochTime] = []
        self.time = EpochTime()
        self.decisions: list[dict[str, Any]] = []
        self.control = None if settings.control is None else self._controller(settings.control)
        self.program = self._compile()
        self.state = self.program.programs.first_state
        self._restore()

    def train(self, stop: Callable[[], bool]) -> Outcome:
        order = order_of_epoch(0, seed=0, epoch=0)
        ordered_epoch = -1
        while self.step < self.total_steps:
            epoch, position = divmod(self.step, self.steps_per_epoch)
            if epoch != ordered_epoch:
                order = order_of_epoch(len(self.data.train), seed=self.settings.seed, epoch=epoch)
                ordered_epoch = epoch
            batch = self.settings.batch
            self._step(order[position * batch : (position + 1) * batch], epoch)
            if position == self.steps_per_epoch - 1:
                self._end_epoch(epoch)
            if stop() and self.step < self.total_steps:
                if self.sums.steps:
                    self._checkpoint()
                return Outcome(self.step, True, tuple(self.metrics))
        return Outcome(self.step, False, tuple(self.metrics))

    def _step(self, indices: Any, epoch: int) -> None:
        started = time.perf_counter()
        measured = self.step % self.settings.measure_every == 0
        result = self.program.run(
            self.data.train.take(indices),
            self.state,
            learning_rate=self._learning_rate(),
            step=self.step + 1,
            measure=self.control is not None if measured else None,
        )
        self.state = result.state
        self.step += 1
        self._add(result)
        if self.control is not None:
            self._decide(self.control, result)
        self.time = self.time.plus(self.settings.batch, time.perf_counter() - started)
        self.observer.step(
            StepReport(
                self.step,
                self.total_steps,
                epoch + 1,
                self.sums.mean_loss,
                self.sums.accuracy,
                {name: total / count for name, (total, count) in self.sums.errors.items()},
                self.time.examples_per_second or 0.0,
            )
        )

    def _add(self, result: StepResult) -> None:
        sums = self.sums
        sums.steps += 1
        sums.examples += self.settings.batch
        sums.labels += self.settings.batch * self.model.labels.rows
        sums.loss += result.loss
        if result.correct is not None:
            sums.correct = (sums.correct or 0) + result.correct
        sums.add_errors(errors_by_class(result.measured))
        if self.cost is not None:
            sums.machine_cycles = (sums.machine_cycles or 0) + self.cost.cycles
            sums.machine_energy_pj = (sums.machine_energy_pj or 0.0) + self.cost.energy_pj

    def _decide(self, control: PrecisionController, result: StepResult) -> None:
        control.observe(result.signals)
        decisions = control.after_step(self.step)
        for decision in decisions:
            row = asdict(decision)
            point = row.pop("point")
            self.decisions.append({"layer": point["layer"], "pass": str(point["training_pass"]), **row})
            self.observer.decision(decision)
        if decisions:
            self.program = self._compile()

    def _end_epoch(self, epoch: int) -> None:
        sums = self.sums
        bits = list(self.program.widths().values())
        tested = self._test()
        row = EpochMetrics(
            epoch=epoch + 1,
            step=self.step,
            learning_rate=self._learning_rate(before=1),
            train_loss=sums.mean_loss,
            train_accuracy=sums.accuracy,
            test_accuracy=tested.accuracy,
            error_activation=sums.mean_error(Operand.ACTIVATION),
            error_weight=sums.mean_error(Operand.WEIGHT),
            error_gradient=sums.mean_error(Operand.GRADIENT),
            bits_16=bits.count(16),
            bits_8=bits.count(8),
            bits_4=bits.count(4),
            machine_cycles=sums.machine_cycles,
            machine_energy_pj=sums.machine_energy_pj,
            test_loss=tested.loss,
        )
        self.metrics.append(row)
        self.times.append(self.time)
        self.sums, self.time = EpochSums(), EpochTime()
        self._checkpoint()
        self.observer.epoch(row)

    def _test(self) -> Evaluation:
        program = self.model.inference_program(self.settings.compile_options(self._policy()), self.state)
        return evaluate(self.model, program, self.data.test)

    def _learning_rate(self, *, before: int = 0) -> float:
        return self.settings.learning_rate.at(
            self.step - before, steps_per_epoch=self.steps_per_epoch, epochs=self.settings.epochs
        )

    def _controller(self, options: ControlOptions) -> PrecisionController:
        widest = self.model.training_step(self.settings.compile_options(WIDEST_POLICY))
        return PrecisionController(options, widest.widths())

    def _policy(self) -> str:
        if self.control is None:
            return self.settings.policy
        path = self.folder / DYNAMIC_POLICY_FILE
        replace_text(path, self.control.policy_text())
        return str(path)

    def _compile(self) -> TrainingStep:
        control = self.settings.control
        signal = Signal.OPERANDS if control is None else control.signal
        step = self.model.training_step(self.settings.compile_options(self._policy()), signal)
        maps = self.settings.profile is not Profile.BFPSIM
        self.cost = cost_of_step(step.programs, self.settings.target) if maps else None
        return step

    def _checkpoint(self) -> None:
        progress = {
            "sums": asdict(self.sums),
            "metrics": [asdict(row) for row in self.metrics],
            "decisions": self.decisions,
            "control": None if self.control is None else self.control.to_json(),
        }
        write_checkpoint(self.folder, Checkpoint(self.step, self.state, progress))
        self._write_tables()

    def _restore(self) -> None:
        found = read_checkpoint(self.folder)
        if found is None:
            return
        progress = found.progress
        self.step = found.step
        self.state = {name: found.state[name] for name in self.state}
        self.sums = EpochSums(**progress["sums"])
        self.metrics = [EpochMetrics(**row) for row in progress["metrics"]]
        *self.times, self.time = read_times(self.folder, len(self.metrics) + 1)
        self.decisions = list(progress["decisions"])
        if self.control is not None:
            self.control.restore(progress["control"])
            self.program = self._compile()
        self._write_tables()

    def _write_tables(self) -> None:
        times = [*self.times, self.time] if self.sums.steps else self.times
        write_tables(self.folder, self.metrics, times, self.decisions)
