"""What ``flexc train`` shows: a line an epoch on stdout, and a bar with the epoch so far on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from flexc.training.metrics import EpochMetrics
from flexc.training.precision_control import FORMAT_NAMES, Decision
from flexc.training.run import Observer, StepReport


@contextmanager
def observing(epochs: int, target: str) -> Iterator[Observer]:
    """An observer that prints while the context lasts; ``target`` is the machine whose cycles are shown."""
    if not sys.stderr.isatty():
        yield _Lines(epochs, target)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=True) as progress:
        task = progress.add_task("", total=None)

        class Bar(_Lines):
            def step(self, report: StepReport) -> None:
                super().step(report)
                progress.update(
                    task, completed=report.step, total=report.steps, description=describe_step(report)
                )

        yield Bar(epochs, target)


class _Lines:
    """An observer that prints epochs and decisions."""

    def __init__(self, epochs: int, target: str) -> None:
        self._epochs = epochs
        self._target = target
        self._examples_per_second = 0.0

    def step(self, report: StepReport) -> None:
        """Prints nothing: in a pipe an epoch is a line."""
        self._examples_per_second = report.examples_per_second

    def epoch(self, metrics: EpochMetrics) -> None:
        """Prints the epoch's line."""
        described = describe_epoch(metrics, self._epochs, self._target)
        click.echo(f"{described}  {self._examples_per_second:.0f}/s")

    def decision(self, decision: Decision) -> None:
        """Prints the change."""
        before, after = FORMAT_NAMES[decision.before_bits], FORMAT_NAMES[decision.after_bits]
        narrower = "" if decision.narrower_error is None else f" ({decision.narrower_error:.2%} narrower)"
        where = f"{decision.point.layer} {decision.point.training_pass}"
        click.echo(f"step {decision.step}: {where} {before} -> {after}, ZSE {decision.error:.2%}{narrower}")


def describe_step(report: StepReport) -> str:
    """The epoch so far in a line."""
    parts = [f"epoch {report.epoch}", f"loss {report.loss:.4f}"]
    if report.accuracy is not None:
        parts.append(f"accuracy {report.accuracy:.2%}")
    parts += [f"ZSE {name} {error:.2%}" for name, error in report.errors.items()]
    return "  ".join([*parts, f"{report.examples_per_second:.0f}/s"])


def describe_epoch(metrics: EpochMetrics, epochs: int, target: str) -> str:
    """An epoch in a line; cycles and energy are those that ``target`` is assumed to spend."""
    parts = [f"epoch {metrics.epoch}/{epochs}", f"loss {metrics.train_loss:.4f}"]
    if metrics.train_accuracy is not None:
        parts.append(f"accuracy {metrics.train_accuracy:.2%}")
    if metrics.test_accuracy is not None:
        parts.append(f"test {metrics.test_accuracy:.2%}")
    if metrics.test_loss is not None:
        parts.append(f"test loss {metrics.test_loss:.4f}")
    errors = {
        "activation": metrics.error_activation,
        "weight": metrics.error_weight,
        "gradient": metrics.error_gradient,
    }
    parts += [f"ZSE {name} {error:.2%}" for name, error in errors.items() if error is not None]
    if metrics.machine_cycles is not None:
        energy_pj = metrics.machine_energy_pj
        energy = "" if energy_pj is None else f", {energy_pj / 1e9:.3g} mJ"
        parts.append(f"{target} (assumed) {metrics.machine_cycles:,} cycles{energy}")
    return "  ".join(parts)
