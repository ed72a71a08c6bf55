"""Testing a model on examples it has not learnt from, with its running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexc.datasets.arrays import Examples
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.signature import TARGETS
from flexc.program import Program
from flexc.training.model import TrainedModel


@dataclass(frozen=True)
class Evaluation:
    """``accuracy``: the share of labels that have the largest output (of equal ones, the first).

    None where labels are no classes. ``loss``: the mean squared error, or the mean of the losses that the
    model computes; None for cross entropy, which takes logits that a model with a softmax does not give.
    """

    accuracy: float | None
    loss: float | None


def evaluate(model: TrainedModel, program: Program, examples: Examples) -> Evaluation:
    """What an inference program of ``model`` makes of ``examples``.

    A last batch is filled up with the last example, which does not count again. A loss of the model's own is
    a batch's: where there is a whole batch, examples that fill none are left out of it.
    """
    if model.loss is Loss.OUTPUT:
        whole = max(len(examples) // model.batch, 1)
        losses = [float(output.reshape(())) for _, output in _outputs(model, program, examples, whole)]
        return Evaluation(None, sum(losses) / whole)
    hits, squares, labels = 0, 0.0, model.labels
    for part, output in _outputs(model, program, examples, -(-len(examples) // model.batch)):
        found = output[: len(part)]
        if labels.classes is not None:
            hits += int((found.argmax(axis=-1) == part.labels).sum())
        if model.loss is Loss.MEAN_SQUARED_ERROR:
            squares += float(np.square(found - labels.inputs_of(part)[TARGETS], dtype=np.float64).sum())
    count = len(examples)
    accuracy = None if labels.classes is None else hits / (count * labels.rows)
    if model.loss is Loss.CROSS_ENTROPY:
        return Evaluation(accuracy, None)
    return Evaluation(accuracy, squares / (count * found[0].size))


def _outputs(
    model: TrainedModel, program: Program, examples: Examples, batches: int
) -> Iterator[tuple[Examples, npt.NDArray[Any]]]:
    """The examples of each batch, and the output for them and what fills the batch up."""
    for start in range(0, batches * model.batch, model.batch):
        indices = np.arange(start, start + model.batch)
        filled = examples.take(np.minimum(indices, len(examples) - 1))
        output = program.run(model.binding.inputs_of(filled))[model.output_name]
        yield examples.take(indices[indices < len(examples)]), output
