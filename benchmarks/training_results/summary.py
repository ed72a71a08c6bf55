"""What the tables need of each run, small enough to be kept with the project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.training_results.experiments import Experiment

SCHEMA = "flexc.training-results"
SCHEMA_VERSION = 1
SIGNIFICANT_DIGITS = 5
ERRORS = ("error_activation", "error_weight", "error_gradient")
BITS = ("bits_16", "bits_8", "bits_4")


@dataclass(frozen=True)
class RunSummary:
    """A finished run. Losses are mean cross entropies in nats, accuracies and errors shares.

    train_loss: of the last epoch, before each update. final_train_loss: of the training set behind the last
    step, with running statistics; final_train_loss_fp32 and test_accuracy_fp32: with contractions in fp32;
    test_accuracy_nearest: of a run that rounds stochastically, tested with rounding to nearest;
    test_accuracy_before: of a model that came trained, before any step.
    errors: zero-setting errors of activations, weights and gradients in the last epoch; bits: contractions
    with 16, 8 and 4 bits. lags: :class:`~benchmarks.training_results.statistics_lag.Lag` behind each epoch.
    seconds: training and testing on the wall clock. A run that broke off has its ``failure`` and no more.
    """

    experiment: Experiment
    seconds: float
    failure: str | None = None
    test_accuracy: float | None = None
    train_loss: float | None = None
    final_train_loss: float | None = None
    final_train_loss_fp32: float | None = None
    test_accuracy_fp32: float | None = None
    test_accuracy_nearest: float | None = None
    test_accuracy_before: float | None = None
    errors: tuple[float, ...] | None = None
    bits: tuple[int, ...] | None = None
    lags: tuple[dict[str, Any], ...] = ()


def summarize(result: dict[str, Any]) -> RunSummary:
    """The summary of a stored result."""
    experiment = Experiment.from_json(result)
    seconds = round(result.get("training_seconds", result["seconds"]), 1)
    if "failure" in result:
        return RunSummary(experiment, seconds, failure=result["failure"].splitlines()[0])
    last = result["epochs"][-1]
    errors = [last.get(name) for name in ERRORS]
    return RunSummary(
        experiment,
        seconds,
        test_accuracy=_rounded(last["test_accuracy"]),
        train_loss=_rounded(last["train_loss"]),
        final_train_loss=_score(result, "scores", "train", "loss"),
        final_train_loss_fp32=_score(result, "scores_in_fp32", "train", "loss"),
        test_accuracy_fp32=_score(result, "scores_in_fp32", "test", "accuracy"),
        test_accuracy_nearest=_score(result, "scores_nearest", "test", "accuracy"),
        test_accuracy_before=_score(result, "scores_before", "test", "accuracy"),
        errors=None if None in errors else tuple(_rounded(errors)),
        bits=tuple(last[name] for name in BITS) if BITS[0] in last else None,
        lags=tuple(_rounded(result.get("lags", []))),
    )


def _score(result: dict[str, Any], kind: str, part: str, what: str) -> float | None:
    found: float | None = _rounded(result[kind][part][what]) if kind in result else None
    return found


def _rounded(value: Any) -> Any:
    """Numbers to a few significant digits, in whatever holds them."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def write_summaries(path: Path, summaries: Iterable[RunSummary]) -> None:
    """Writes them a line a run, sorted by what was run; what a run has nothing of is left out."""
    rows = sorted(map(_line, summaries))
    head = f'{{"schema": "{SCHEMA}", "schema_version": {SCHEMA_VERSION}, "runs": [\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + ",\n".join(rows) + "\n]}\n", encoding="utf-8")


def _line(summary: RunSummary) -> str:
    kept: dict[str, Any] = {k: value for k, value in asdict(summary).items() if value not in (None, ())}
    return json.dumps(kept)


def read_summaries(path: Path) -> tuple[RunSummary, ...]:
    """What :func:`write_summaries` wrote; ValueError for another schema."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if (found["schema"], found["schema_version"]) != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(f"{path} is {found['schema']} version {found['schema_version']}")
    return tuple(_summary(row) for row in found["runs"])


def _summary(row: dict[str, Any]) -> RunSummary:
    lists: dict[str, Any] = {name: tuple(row[name]) for name in ("errors", "bits", "lags") if name in row}
    return RunSummary(**{**row, **lists, "experiment": Experiment.from_json(row["experiment"])})
