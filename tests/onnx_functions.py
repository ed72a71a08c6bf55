"""Function bodies of the quantized export on onnxruntime, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from flexc.exporter.onnx_writer import IR_VERSION, OPSET
from flexc.exporter.quantized.function_body import DOMAIN, FunctionLibrary

Array: TypeAlias = npt.NDArray[Any]


def run_function(build: Callable[..., str], inputs: Sequence[Array]) -> Array:
    """What the function that ``build(body, *names)`` makes gives for ``inputs``."""
    library = FunctionLibrary()
    name = library.define("Tested", "tested", len(inputs), build)
    names = [f"input{number}" for number in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(name, names, ["y"], domain=DOMAIN)],
        "tested",
        [
            helper.make_tensor_value_info(each, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for each, array in zip(names, inputs, strict=True)
        ],
        [onnx.ValueInfoProto(name="y")],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=library.functions, ir_version=IR_VERSION)
    return run_model(model, dict(zip(names, inputs, strict=True)))["y"]


def run_model(model: onnx.ModelProto, inputs: dict[str, Array]) -> dict[str, Array]:
    """The outputs of a model on onnxruntime as it comes, with all its optimizations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))


def same_bytes(a: Array, b: Array) -> bool:
    """Whether two arrays have equal shapes, types and bits; a NaN is a NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    both_nan = np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    bits = np.dtype(f"u{a.dtype.itemsize}")
    left, right = (np.ascontiguousarray(one).view(bits) for one in (a, b))
    return bool(((left == right) | both_nan).all())
