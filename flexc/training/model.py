"""A model that is trained: its forward graph and its training step, in fp32, before formats are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from flexc.artefact import Source, sha256_of
from flexc.datasets.arrays import DataSet
from flexc.diagnostics import Place, error
from flexc.importer import load_model
from flexc.ir.program import Graph
from flexc.ir.shapes import Shape
from flexc.ir.tensor_op import spec_of
from flexc.ir.train import DropoutOp
from flexc.options import CompileOptions, Profile, TrainingOptions
from flexc.passes.building import replace as replace_op
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.loss_output import loss_output
from flexc.passes.differentiation.parts import Part, micro_batch_of
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import (
    differentiation_of,
    precision_pipeline,
    rebuilding_pipeline,
    training_pipeline,
)
from flexc.program import Program
from flexc.training.binding import Binding, bind
from flexc.training.integer_inputs import check_integers
from flexc.training.labels import LabelUse, label_use
from flexc.training.signals import Signal
from flexc.training.step import StepPrograms, TrainingStep
from flexc.training.trained_graph import trained_graph

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class TrainedModel:
    """``forward``: the model, rebuilt; ``parts``: its fp32 training step, in one program or two.

    Each takes ``batch`` examples, which is a micro-batch where a step has several. The loss is taken of the
    output ``output_name``.
    """

    source: Source
    forward: Graph
    parts: Mapping[Part, Graph]
    binding: Binding
    labels: LabelUse
    loss: Loss
    output_name: str
    batch: int
    micro_batches: int

    def step_programs(self, options: CompileOptions) -> StepPrograms:
        """The training step in the precision of ``options``."""
        main, *update = (self._program(graph.copy(), options, part) for part, graph in self.parts.items())
        return StepPrograms(main, update[0] if update else None, self.micro_batches)

    def training_step(self, options: CompileOptions, signal: Signal = Signal.OPERANDS) -> TrainingStep:
        """The training step in that precision, to run; ``signal`` is what dynamic precision follows."""
        return TrainingStep(self.step_programs(options), self.binding, self.labels, signal)

    def inference_program(self, options: CompileOptions, state: dict[str, Array]) -> Program:
        """The model with the trained weights and running statistics of ``state``, in that precision."""
        return self._program(trained_graph(self.forward, state), options, None)

    def _program(self, graph: Graph, options: CompileOptions, part: Part | None) -> Program:
        run_pipeline(graph, precision_pipeline(options))
        if part is not None and options.training is not None:
            options = replace(options, training=replace(options.training, part=part))
        return Program.of_graph(graph, self.source, options)


def load_trained_model(path: Path, data: DataSet, *, batch: int, options: TrainingOptions) -> TrainedModel:
    """The model of an ONNX file, to learn from ``data``.

    Raises CompileError: those of import and of differentiation, FX347 for micro-batches that do not fill a
    batch, and FX563 where model and data do not fit.
    """
    if batch > len(data.train):
        raise error(
            "FX563", f"a batch of {batch} is more than the {len(data.train)} examples of '{data.name}'"
        )
    rows, loss, place = micro_batch_of(batch, options.micro_batches), Loss(options.loss), Place(str(path))
    binding = bind(path, data, loss, rows)
    shapes = {name: (rows, *shape) for name, shape in binding.shapes(data).items()}
    forward = load_forward(path, shapes)
    check_integers(forward, data, binding)
    name, output = loss_output(forward, loss, options.output)
    labels = label_use(spec_of(output.type), data, loss, place)
    parts = (Part.STEP,) if options.micro_batches == 1 else (Part.GRADIENTS, Part.UPDATE)
    steps = {part: _step(path, shapes, replace(options, part=part)) for part in parts}
    run_pipeline(forward, rebuilding_pipeline())
    source = Source(str(path.resolve()), sha256_of(path))
    return TrainedModel(
        source, forward, steps, binding, labels, loss, name, rows, micro_batches=options.micro_batches
    )


def _step(path: Path, shapes: Mapping[str, Shape], options: TrainingOptions) -> Graph:
    graph = load_forward(path, shapes, training=True)
    fp32 = CompileOptions(profile=Profile.FP32, training=options)
    run_pipeline(graph, training_pipeline(fp32, differentiation_of(options)))
    return graph


def load_forward(path: Path, shapes: Mapping[str, Shape], *, training: bool = False) -> Graph:
    """The model of an ONNX file whose inputs have ``shapes``, for a training step if ``training`` says so.

    For tests and exports it is without dropouts, in whichever mode the file has them and its batch norms.
    CompileError FX112 for an input of another shape.
    """
    graph = load_model(path, input_shapes=shapes, training=True)
    if not training:
        for op in tuple(graph.main.body.block.ops):
            if isinstance(op, DropoutOp):
                replace_op(op, op.x)
    return graph
