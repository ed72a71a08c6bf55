"""The tables of a run as scalars for TensorBoard: an event file in the run's folder."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flexc.diagnostics import Diagnostic
from flexc.training.metrics import METRICS_FILE, TIMES_FILE, EpochMetrics
from flexc.training.precision_control import Decision
from flexc.training.run import Observer, StepReport

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

PACKAGE = "tensorboardX"
EVENT_FILES = "events.out.tfevents.*"
TAGS = {
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "error_activation": "zero_setting_error/activation",
    "error_weight": "zero_setting_error/weight",
    "error_gradient": "zero_setting_error/gradient",
    "bits_16": "contractions/FB24",
    "bits_8": "contractions/FB16",
    "bits_4": "contractions/FB12",
    "learning_rate": "learning_rate",
    "machine_cycles": "machine/cycles",
    "machine_energy_pj": "machine/energy_pj",
    "examples_per_second": "examples_per_second",
}
"""Columns of ``metrics.csv`` and ``times.csv``, and the names that TensorBoard shows."""


@contextmanager
def writing_scalars(
    folder: Path, observer: Observer, remark: Callable[[Diagnostic], None]
) -> Iterator[Observer]:
    """``observer``, and every epoch that it is told of as scalars in ``folder``.

    A run that is continued gets its earlier epochs again, in a new file. Without the package that writes
    event files there are none, and a remark (FX564).
    """
    if importlib.util.find_spec(PACKAGE) is None:
        remark(
            Diagnostic(
                "FX564",
                f"no scalars for TensorBoard: {PACKAGE} is missing",
                hint="pip install 'flexc[tensorboard]'",
                severity="remark",
            )
        )
        yield observer
        return
    scalars = _Scalars(folder, observer)
    try:
        yield scalars
    finally:
        scalars.close()


class _Scalars:
    """An observer that tells another, and writes the epochs that the tables have gained."""

    def __init__(self, folder: Path, observer: Observer) -> None:
        self._folder = folder
        self._observer = observer
        self._writer: SummaryWriter | None = None
        self._epochs = 0

    def step(self, report: StepReport) -> None:
        """Hands it on."""
        self._observer.step(report)

    def decision(self, decision: Decision) -> None:
        """Hands it on."""
        self._observer.decision(decision)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Hands it on, and writes the epoch, whose rows are in the tables by now."""
        self._observer.epoch(metrics)
        if self._writer is None:
            # Imported and opened here: a run without an epoch needs no file.
            from tensorboardX import SummaryWriter

            for old in self._folder.glob(EVENT_FILES):
                old.unlink()
            self._writer = SummaryWriter(str(self._folder))
        rows = list(_rows(self._folder))
        for row in rows[self._epochs :]:
            for column, tag in TAGS.items():
                if row[column]:
                    self._writer.add_scalar(tag, float(row[column]), int(row["step"]))
        self._epochs = len(rows)
        self._writer.flush()

    def close(self) -> None:
        """Ends the file, if there is one."""
        if self._writer is not None:
            self._writer.close()


def _rows(folder: Path) -> Iterator[Mapping[str, str]]:
    """The tables' rows, side by side; an epoch that is not done has times alone."""
    with (
        (folder / METRICS_FILE).open(encoding="utf-8", newline="") as metrics,
        (folder / TIMES_FILE).open(encoding="utf-8", newline="") as times,
    ):
        for row, time in zip(csv.DictReader(metrics), csv.DictReader(times), strict=False):
            yield {**row, **time}
