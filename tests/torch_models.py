"""Runs an ONNX model in PyTorch, for training: batch norms take the statistics of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import numpy_helper

Tensor = Any
Attributes = Mapping[str, Any]


def weights_of(model: onnx.ModelProto, torch: Any) -> dict[str, Tensor]:
    """The initializers by name, in fp64 where they are floats."""
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    return {
        name: torch.tensor(array).double() if array.dtype.kind == "f" else torch.tensor(array)
        for name, array in arrays.items()
    }


def run(model: onnx.ModelProto, torch: Any, values: Mapping[str, Tensor]) -> Tensor:
    """The model's output, without a softmax at its end; ``values`` are inputs and initializers by name."""
    known = dict(values)
    nodes = list(model.graph.node)
    if nodes[-1].op_type == "Softmax":
        nodes.pop()
    for node in nodes:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        known[node.output[0]] = _OPS[node.op_type](torch, attributes, *(known[name] for name in node.input))
    return known[nodes[-1].output[0]]


def _conv(torch: Any, a: Attributes, x: Tensor, w: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(x, w, None, a["strides"], a["pads"][:2], groups=a["group"])


def _batch_norm(torch: Any, a: Attributes, x: Tensor, gamma: Tensor, beta: Tensor, *_: Tensor) -> Tensor:
    return torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, eps=a["epsilon"])


def _layer_norm(torch: Any, a: Attributes, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta)


_OPS: Mapping[str, Callable[..., Tensor]] = {
    "Add": lambda t, a, x, y: x + y,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Div": lambda t, a, x, y: x / y,
    "Erf": lambda t, a, x: t.erf(x),
    "Flatten": lambda t, a, x: x.flatten(1),
    "Gather": lambda t, a, x, indices: x[(slice(None),) * a.get("axis", 0) + (indices,)],
    "Gemm": lambda t, a, x, w, bias: x @ w.T + bias,
    "GlobalAveragePool": lambda t, a, x: x.mean((2, 3), keepdim=True),
    "HardSwish": lambda t, a, x: t.nn.functional.hardswish(x),
    "LayerNormalization": _layer_norm,
    "MatMul": lambda t, a, x, y: x @ y,
    "MaxPool": lambda t, a, x: t.nn.functional.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2]),
    "Mul": lambda t, a, x, y: x * y,
    "ReduceMean": lambda t, a, x: x.mean(a["axes"]),
    "Relu": lambda t, a, x: t.relu(x),
    "Reshape": lambda t, a, x, shape: x.reshape(shape.tolist()),
    "Sigmoid": lambda t, a, x: t.sigmoid(x),
    "Softmax": lambda t, a, x: t.softmax(x, a["axis"]),
    "Tanh": lambda t, a, x: t.tanh(x),
    "Transpose": lambda t, a, x: x.permute(a["perm"]),
}
