"""A model that is trained: its forward graph and its training step, in fp32, before formats are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.artefact import Source, sha256_of
from flexc.datasets.arrays import DataSet
from flexc.diagnostics import CompileError, Place, error
from flexc.importer import load_model
from flexc.importer.graph_inputs import declared_inputs
from flexc.importer.model_file import read_model
from flexc.importer.problems import Problems
from flexc.ir.program import Graph, carried_names
from flexc.ir.shapes import TensorSpec
from flexc.ir.tensor_op import spec_of
from flexc.options import CompileOptions, Profile, TrainingOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import (
    differentiation_of,
    precision_pipeline,
    rebuilding_pipeline,
    training_pipeline,
)
from flexc.program import Program
from flexc.training.trained_graph import trained_graph

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class TrainedModel:
    """``forward``: the model, rebuilt; ``step``: its fp32 training step; each for ``batch`` images."""

    source: Source
    forward: Graph
    step: Graph
    input_name: str
    output_name: str
    classes: int
    batch: int

    def step_program(self, options: CompileOptions) -> Program:
        """The training step in the precision of ``options``."""
        graph = self.step.copy()
        run_pipeline(graph, precision_pipeline(options))
        return Program.of_graph(graph, self.source, options)

    def inference_program(self, options: CompileOptions, state: dict[str, Array]) -> Program:
        """The model with the trained weights and running statistics of ``state``, in that precision."""
        graph = trained_graph(self.forward, state)
        run_pipeline(graph, precision_pipeline(options))
        return Program.of_graph(graph, self.source, options)


def state_of(graph: Graph) -> dict[str, Array]:
    """What a training step carries before the first one: weights, state of the optimizer, statistics."""
    return {name: np.asarray(graph.weights.get(name)) for name in carried_names(graph.main)}


def load_trained_model(path: Path, data: DataSet, *, batch: int, options: TrainingOptions) -> TrainedModel:
    """The model of an ONNX file, to learn from ``data``.

    Raises CompileError: those of import and of differentiation, and FX563 where model and data do not fit.
    """
    if batch > len(data.train):
        raise error(
            "FX563", f"a batch of {batch} is more than the {len(data.train)} examples of '{data.name}'"
        )
    forward = load_forward(path, (batch, *data.image_shape))
    step = load_forward(path, (batch, *data.image_shape), training=True)
    fp32 = CompileOptions(profile=Profile.FP32, training=options)
    run_pipeline(step, training_pipeline(fp32, differentiation_of(options)))
    run_pipeline(forward, rebuilding_pipeline())
    output = options.output or forward.output_names[0]
    classes = _classes(forward, output, batch, data, path)
    source = Source(str(path.resolve()), sha256_of(path))
    return TrainedModel(source, forward, step, forward.input_names[0], output, classes, batch)


def load_forward(path: Path, shape: tuple[int, ...], *, training: bool = False) -> Graph:
    """The model of an ONNX file whose one input has ``shape``, for a training step if ``training`` says so.

    CompileError FX563 for an input of another shape.
    """
    name = _only_input(path)
    forward = load_model(path, input_shapes={name: shape}, training=training)
    given = spec_of(forward.main.body.block.args[0].type)
    if given != TensorSpec(shape):
        raise error(
            "FX563",
            f"the model takes {given}, a batch of the data is {TensorSpec(shape)}",
            place=Place(str(path)),
            hint="export the model with an open first dimension, or choose another --batch",
        )
    return forward


def _only_input(path: Path) -> str:
    problems = Problems()
    found = declared_inputs(read_model(path).graph, Place(str(path)), problems)
    problems.raise_any()
    if len(found) != 1 or found[0].element != "f32":
        described = ", ".join(f"'{one.name}' {one.element}" for one in found) or "none"
        raise error(
            "FX563",
            f"a model that learns from images has one fp32 input; this one has {described}",
            place=Place(str(path)),
        )
    return found[0].name


def _classes(forward: Graph, output: str, batch: int, data: DataSet, path: Path) -> int:
    end = forward.main.body.block.last_op
    assert end is not None
    spec = spec_of(end.operands[forward.output_names.index(output)].type)
    if spec.rank != 2 or spec.shape[0] != batch or spec.shape[1] < data.classes:
        raise _no_classifier(output, spec, data, path)
    return spec.shape[1]


def _no_classifier(output: str, spec: TensorSpec, data: DataSet, path: Path) -> CompileError:
    return error(
        "FX563",
        f"the output '{output}' is {spec}; '{data.name}' needs [batch, {data.classes} classes or more]",
        place=Place(str(path)),
    )
