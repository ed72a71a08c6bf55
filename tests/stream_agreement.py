"""A model's stream against its graph: every tensor that reaches DRAM, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from flexc.backends.stream.emit import emit_stream
from flexc.backends.stream.program import Stream
from flexc.backends.stream.simulate import Simulation, simulate
from flexc.importer import load_model
from flexc.ir import bfp, nn
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.numerics.block_float import BlockTensor
from flexc.options import CompileOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import inference_pipeline
from flexc.target import load_target
from tests.evaluate import evaluate_values
from tests.onnx_models import save

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """A compiled model whose stream and graph agreed."""

    graph: Graph
    stream: Stream
    simulation: Simulation


def compile_graph(model: onnx.ModelProto, folder: Path, options: CompileOptions) -> Graph:
    """The model after all passes."""
    graph = load_model(save(model, folder))
    run_pipeline(graph, inference_pipeline(options), verify_each=True)
    return graph


def check_agreement(
    model: onnx.ModelProto,
    inputs: Mapping[str, Array],
    folder: Path,
    options: CompileOptions | None = None,
) -> Agreement:
    """Compiles the model, simulates its stream and compares every tensor of it with the graph's."""
    options = options or CompileOptions()
    return compare_with_stream(compile_graph(model, folder, options), inputs, options.target)


def compare_with_stream(graph: Graph, inputs: Mapping[str, Array], target: str) -> Agreement:
    """Simulates the stream of a compiled graph and compares every tensor of it with the graph's."""
    stream = emit_stream(graph, load_target(target))
    simulation = simulate(stream, inputs, tensors=True)
    compare(graph, simulation, inputs)
    return Agreement(graph, stream, simulation)


def compare(graph: Graph, simulation: Simulation, inputs: Mapping[str, Array]) -> None:
    """Fails where an output or intermediate of the stream is not the graph's value, byte for byte."""
    values = evaluate_values(graph, inputs)
    names = value_names(graph.main)
    expected: dict[str, Array] = {}
    for value, name in names.items():
        # Constants are symbols under their keys, which may be the names of other values.
        if not isinstance(value.owner, nn.ConstantOp | bfp.ConstantOp):
            expected.update(_planes(name, values[value]))
    last = graph.main.body.block.last_op
    assert last is not None
    outputs = dict(zip(graph.output_names, last.operands, strict=True))
    for name, value in outputs.items():
        _require_equal(name, simulation.outputs[name], values[value])
    for name, found in simulation.tensors.items():
        if name in expected:
            _require_equal(name, found, expected[name])


def _planes(name: str, value: Array | BlockTensor) -> dict[str, Array]:
    if isinstance(value, BlockTensor):
        return {f"{name}.mantissa": value.mantissa, f"{name}.exponent": value.exponent}
    return {name: value}


def _require_equal(name: str, found: Array, expected: Array) -> None:
    assert found.shape == expected.shape, name
    assert found.dtype == expected.dtype, name
    same = np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()
    assert same, f"{name}: {np.argwhere(found != expected)[:5].tolist()} of {found.shape}"
