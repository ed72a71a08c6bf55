"""Testing a model on examples it has not learnt from, with its running statistics."""

from __future__ import annotations

import numpy as np

from flexc.datasets.arrays import Examples
from flexc.program import Program


def accuracy_of(program: Program, input_name: str, output_name: str, batch: int, examples: Examples) -> float:
    """The share of ``examples`` whose label has the largest output (of equal ones, the first).

    The program takes ``batch`` images; the last batch is filled up with its last image, which is not counted.
    """
    hits = 0
    for start in range(0, len(examples), batch):
        indices = np.arange(start, start + batch)
        part = examples.take(np.minimum(indices, len(examples) - 1))
        found = program.run({input_name: part.images})[output_name].argmax(axis=1)
        hits += int((found == part.labels)[: len(examples) - start].sum())
    return hits / len(examples)
