"""Training steps of ONNX models, run by the emitted program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from flexc.backends.executor.emit import emit_program
from flexc.backends.executor.run import Executable, weights_of
from flexc.importer import load_model
from flexc.ir.program import Graph, carried_names
from flexc.passes.base import Pass
from flexc.passes.differentiate import Differentiate
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import rebuilding_pipeline

Array: TypeAlias = npt.NDArray[Any]


@dataclass
class Trainer:
    """A training step, and what it carries from one call to the next."""

    graph: Graph
    executable: Executable
    carried: dict[str, Array]
    steps: int = 0

    def step(self, inputs: Mapping[str, Array], learning_rate: float) -> dict[str, Array]:
        """One step; its results."""
        self.steps += 1
        given = {
            **inputs,
            "learning_rate": np.asarray(learning_rate, np.float32),
            "step": np.asarray(self.steps, np.int64),
        }
        results = self.executable.run({**given, **self.carried})
        self.carried = {name: results[name] for name in self.carried}
        return results


def trainer(
    model: onnx.ModelProto, folder: Path, differentiate: Differentiate, after: Sequence[Pass] = ()
) -> Trainer:
    """The training step of ``model``, with further passes behind."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load_model(path, training=True)
    run_pipeline(graph, (*rebuilding_pipeline(), differentiate, *after), verify_each=True)
    return trainer_of(graph)


def trainer_of(graph: Graph) -> Trainer:
    """The training step that ``graph`` holds, from its first weights and state on."""
    carried = {name: np.asarray(graph.weights.get(name)) for name in carried_names(graph.main)}
    return Trainer(graph, Executable(emit_program(graph).text, "<step>", weights_of(graph)), carried)
