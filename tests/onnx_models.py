"""Tiny ONNX models, and the comparison of what the importer makes of them with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from flexc.importer import load_model
from flexc.ir.program import Graph
from tests.evaluate import evaluate

Array: TypeAlias = npt.NDArray[Any]
IR_VERSION = 8


def make_node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
) -> onnx.NodeProto:
    """``onnx.helper.make_node`` for attributes of any type."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A model whose inputs have the types of the given arrays."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Writes the model and returns its path."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def import_verified(model: onnx.ModelProto, folder: Path) -> Graph:
    """The imported graph, its ops verified."""
    graph = load_model(save(model, folder))
    graph.module.verify()
    return graph


def assert_matches(
    model: onnx.ModelProto, inputs: Mapping[str, Array], folder: Path, *, tolerance: float = 2e-6
) -> Graph:
    """The imported graph gives what ONNX Runtime does, in value, shape and type.

    ``tolerance`` is relative to the largest magnitude of an output; 0 asks for equal elements.
    """
    graph = import_verified(model, folder)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    expected = [np.asarray(output) for output in session.run(None, dict(inputs))]
    found = evaluate(graph, inputs)
    assert list(found) == [output.name for output in model.graph.output]
    for (name, ours), theirs in zip(found.items(), expected, strict=True):
        assert ours.shape == theirs.shape, name
        assert ours.dtype == theirs.dtype, name
        scale = float(np.abs(theirs).max()) if theirs.size and theirs.dtype != np.bool_ else 1.0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(scale, 1e-30), err_msg=name)
    return graph


def op_names(graph: Graph) -> list[str]:
    """Names of the ops of a graph in order, constants and the return left out."""
    skipped = ("nn.constant", "func.return")
    return [op.name for op in graph.main.body.block.ops if op.name not in skipped]


def random(*shape: int, seed: int = 0) -> Array:
    """Normal fp32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
