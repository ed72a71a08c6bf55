"""Loss and accuracy of a trained model, with running statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.datasets.arrays import Examples
from flexc.program import Program
from flexc.training.model import TrainedModel


@dataclass(frozen=True)
class Score:
    """Mean cross entropy in nats and the share classified right."""

    loss: float
    accuracy: float


def score_of_logits(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Score:
    """The score of ``logits`` [N, classes], in fp64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return Score(float(losses.mean()), float((logits.argmax(axis=1) == labels).mean()))


def score(model: TrainedModel, program: Program, examples: Examples) -> Score:
    """The score of an inference program of ``model``; the last batch is filled up with its last example."""
    found = []
    for start in range(0, len(examples), model.batch):
        indices = np.minimum(np.arange(start, start + model.batch), len(examples) - 1)
        found.append(program.run(model.binding.inputs_of(examples.take(indices)))[model.output_name])
    return score_of_logits(np.concatenate(found)[: len(examples)], examples.class_labels)


def whole_batches(examples: Examples, batch: int) -> Examples:
    """The first examples, as many as fill batches."""
    return examples.take(np.arange(len(examples) // batch * batch))
