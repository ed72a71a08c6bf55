"""What is known of each epoch, and the tables of a run: metrics, times, decisions of dynamic precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from flexc.diagnostics import Place, error
from flexc.precision.policy import Operand
from flexc.training.checkpoint import replace_text

METRICS_FILE = "metrics.csv"
TIMES_FILE = "times.csv"
DECISIONS_FILE = "decisions.csv"


@dataclass(frozen=True)
class EpochMetrics:
    """One row of ``metrics.csv``; None where there is nothing to tell.

    Errors are means of zero-setting errors over the measured steps of the epoch. ``bits_16``, ``bits_8`` and
    ``bits_4`` count the contractions of each width behind the epoch. Accuracies are shares.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_accuracy: float | None
    test_accuracy: float | None
    error_activation: float | None
    error_weight: float | None
    error_gradient: float | None
    bits_16: int
    bits_8: int
    bits_4: int
    machine_cycles: int | None
    machine_energy_pj: float | None
    test_loss: float | None = None


@dataclass(frozen=True)
class EpochTime:
    """One row of ``times.csv``: examples of an epoch that were run so far, and the seconds that they took."""

    examples: int = 0
    seconds: float = 0.0

    def plus(self, examples: int, seconds: float) -> EpochTime:
        """With more of both."""
        return EpochTime(self.examples + examples, self.seconds + seconds)

    @property
    def examples_per_second(self) -> float | None:
        """None before the first."""
        return self.examples / self.seconds if self.seconds else None


@dataclass
class EpochSums:
    """Sums over the steps of an epoch so far; plain values, so that a checkpoint can hold them."""

    steps: int = 0
    examples: int = 0
    labels: int = 0
    loss: float = 0.0
    correct: int | None = None
    errors: dict[str, list[float]] = field(default_factory=dict)
    """By class of tensor: the sum of the errors, and their number."""
    machine_cycles: int | None = None
    machine_energy_pj: float | None = None

    def add_errors(self, found: Mapping[str, Sequence[float]]) -> None:
        """Adds the errors measured in a step."""
        for name, errors in found.items():
            total, count = self.errors.get(name, (0.0, 0))
            self.errors[name] = [total + sum(errors), count + len(errors)]

    def mean_error(self, operand: Operand) -> float | None:
        """The mean error of a class of tensors; None before any was measured."""
        if operand not in self.errors:
            return None
        total, count = self.errors[operand]
        return total / count

    @property
    def mean_loss(self) -> float:
        """The mean loss of the steps so far."""
        return self.loss / max(self.steps, 1)

    @property
    def accuracy(self) -> float | None:
        """The share classified right so far, before each step's update."""
        return None if self.correct is None else self.correct / self.labels

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def write_tables(
    folder: Path,
    metrics: Iterable[EpochMetrics],
    times: Sequence[EpochTime],
    decisions: Sequence[Mapping[str, Any]],
) -> None:
    """Writes the tables anew. All but the times are equal for equal runs, byte by byte."""
    rows = [asdict(row) for row in metrics]
    replace_text(folder / METRICS_FILE, _csv(rows))
    replace_text(folder / TIMES_FILE, _csv([_time_row(*numbered) for numbered in enumerate(times, start=1)]))
    if decisions:
        replace_text(folder / DECISIONS_FILE, _csv(decisions))


def _time_row(epoch: int, time: EpochTime) -> dict[str, Any]:
    kept = EpochTime(time.examples, round(time.seconds, 3))
    rate = kept.examples_per_second
    return {
        "epoch": epoch,
        **asdict(kept),
        "examples_per_second": None if rate is None else round(rate, 1),
    }


def read_times(folder: Path, count: int) -> list[EpochTime]:
    """The times of the first ``count`` epochs of a run; none of those that it was killed before it wrote."""
    path = folder / TIMES_FILE
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))[:count]
    try:
        found = [EpochTime(int(row["examples"]), float(row["seconds"])) for row in rows]
    except (KeyError, TypeError, ValueError) as cause:
        raise error("FX570", f"the table is not that of a run: {cause!r}", place=Place(str(path))) from cause
    return found + [EpochTime()] * (count - len(found))


def read_epochs(folder: Path) -> list[EpochMetrics]:
    """The epochs of the run in ``folder``.

    Raises CompileError FX570 where there is none yet, and where the table is not one that a run writes.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise error("FX570", "there is no epoch of a run here", place=Place(str(path)))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise error("FX570", "the run has no epoch yet", place=Place(str(path)))
    try:
        return [_epoch(row) for row in rows]
    except (KeyError, TypeError, ValueError) as cause:
        raise error("FX570", f"the table is not that of a run: {cause!r}", place=Place(str(path))) from cause


def _epoch(row: Mapping[str, str]) -> EpochMetrics:
    values: dict[str, Any] = {}
    for one in fields(EpochMetrics):
        text = row[one.name]
        if not text and "None" in str(one.type):
            values[one.name] = None
        else:
            values[one.name] = int(text) if str(one.type).startswith("int") else float(text)
    return EpochMetrics(**values)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
