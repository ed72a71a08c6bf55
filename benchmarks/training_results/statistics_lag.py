"""How far running statistics lag behind those of batches, with the weights of one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.training_results.evaluation import Score, score, whole_batches
from flexc.datasets.arrays import DataSet, Examples
from flexc.passes.differentiation.lightnorm import RANGE_SUFFIX
from flexc.training.model import TrainedModel, load_trained_model
from flexc.training.settings import RunSettings

State = dict[str, npt.NDArray[Any]]
VARIANCE_SUFFIX = ".bn.var"


@dataclass(frozen=True)
class Lag:
    """Scores of the same test examples by either kind of statistics, and the spreads of all channels.

    A channel's spread is its range (LightNorm) or its standard deviation. ``difference``: the mean over
    channels of |running / batch - 1|, and ``bias`` that of running / batch - 1, for the mean spread of the
    test batches; ``training_difference`` and ``training_bias`` for the batches of the epoch's last steps.
    """

    running: Score
    batch: Score
    difference: float
    bias: float
    training_difference: float
    training_bias: float


class LagProbe:
    """Measures with steps whose learning rate is 0 and whose statistics forget all that was before."""

    def __init__(self, settings: RunSettings, model: TrainedModel, data: DataSet, path: Path) -> None:
        forgetful = replace(settings.training, statistics_momentum=0.0)
        batchwise = load_trained_model(path, data, batch=settings.batch, options=forgetful)
        options = settings.compile_options(settings.policy)
        self._step = batchwise.training_step(replace(options, training=forgetful))
        self._settings, self._model, self._data = settings, model, data

    def measure(self, state: State, recent: Examples) -> Lag:
        """The lag in ``state``; ``recent`` are the training examples of the last steps, in whole batches."""
        program = self._model.inference_program(self._settings.compile_options(self._settings.policy), state)
        test = whole_batches(self._data.test, self._settings.batch)
        by_batch, test_spread = self._by_batch(state, test)
        _, recent_spread = self._by_batch(state, recent)
        running = {name: _spread(name, state[name]) for name in test_spread}
        difference, bias = _relative(running, test_spread)
        recent_difference, recent_bias = _relative(running, recent_spread)
        return Lag(
            score(self._model, program, test), by_batch, difference, bias, recent_difference, recent_bias
        )

    def _by_batch(self, state: State, examples: Examples) -> tuple[Score, State]:
        """Loss and accuracy by batch statistics, and the mean spread of the batches by name."""
        batch = self._settings.batch
        loss, correct, count = 0.0, 0, len(examples) // batch
        spreads: dict[str, list[npt.NDArray[Any]]] = {}
        for number in range(count):
            part = examples.take(np.arange(number * batch, (number + 1) * batch))
            made = self._step.run(part, state, learning_rate=0.0, step=1, measure=None)
            loss += made.loss
            correct += made.correct or 0
            for name, value in made.state.items():
                if name.endswith((VARIANCE_SUFFIX, VARIANCE_SUFFIX + RANGE_SUFFIX)):
                    spreads.setdefault(name, []).append(_spread(name, value))
        means = {name: np.mean(values, axis=0) for name, values in spreads.items()}
        return Score(loss / count, correct / (count * batch)), means


def _spread(name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wide = np.asarray(value, np.float64)
    return wide if name.endswith(RANGE_SUFFIX) else np.sqrt(wide)


def _relative(running: State, batch: State) -> tuple[float, float]:
    """Over channels whose batches have any spread: those that are always 0 leave nothing to compare with."""
    ratios = np.concatenate([running[name][batch[name] > 0] / batch[name][batch[name] > 0] for name in batch])
    return float(np.abs(ratios - 1).mean()), float((ratios - 1).mean())
