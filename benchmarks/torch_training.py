"""Training steps in PyTorch, in fp32 on one thread: what flexc's steps are measured against.

Needs the extra ``torch``. The step is that of ``flexc train``: batch norms with the statistics of the batch
and running ones beside, cross entropy, SGD with momentum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Module = Any
Tensor = Any
TrainingCall = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], Any]


def torch_step(model: onnx.ModelProto, *, learning_rate: float, momentum: float) -> TrainingCall:
    """A step of ``model``, whose operators are those of the small networks that are trained."""
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    # Of the two orders in memory, channels last was the faster for these networks.
    last = torch.channels_last
    modules = [_module(torch.nn, node, weights).to(memory_format=last) for node in model.graph.node]
    trained = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.SGD(trained, lr=learning_rate, momentum=momentum)
    result, source = model.graph.output[0].name, model.graph.input[0].name

    def step(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Any:
        known: dict[str, Tensor] = {source: torch.from_numpy(images)}
        optimizer.zero_grad()
        for node, module in zip(model.graph.node, modules, strict=True):
            known[node.output[0]] = module(*(known[name] for name in node.input if name in known))
        loss = torch.nn.functional.cross_entropy(known[result], torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _module(nn: Any, node: onnx.NodeProto, weights: Mapping[str, npt.NDArray[Any]]) -> Module:
    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    match node.op_type:
        case "Conv":
            outside, inside, *kernel = weights[node.input[1]].shape
            group = found["group"]
            return nn.Conv2d(
                inside * group, outside, kernel, found["strides"], found["pads"][:2], groups=group, bias=False
            )
        case "BatchNormalization":
            return nn.BatchNorm2d(len(weights[node.input[1]]), eps=found["epsilon"])
        case "Gemm":
            outside, inside = weights[node.input[1]].shape
            return nn.Linear(inside, outside)
        case "Relu":
            return nn.ReLU()
        case "Add":
            return _adder(nn)
        case "GlobalAveragePool":
            return nn.AdaptiveAvgPool2d(1)
        case "Flatten":
            return nn.Flatten()
    raise ValueError(f"no module for {node.op_type}")


def _adder(nn: Any) -> Module:
    class Add(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    return Add()
