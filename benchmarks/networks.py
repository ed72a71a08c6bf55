"""The convolutions of the measured networks, as their ONNX models have them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import helper, shape_inference


@dataclass(frozen=True)
class ConvLayer:
    """A two-dimensional convolution: the shapes and attributes of one ONNX node."""

    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    group: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding included."""
        outputs = self.w_shape[0]
        for size, taps, stride, begin, end in zip(
            self.x_shape[2:], self.w_shape[2:], self.stride, self.pads[:2], self.pads[2:], strict=True
        ):
            outputs *= ((size + begin + end - taps) // stride + 1) * taps
        return self.x_shape[0] * outputs * self.w_shape[1]

    @property
    def label(self) -> str:
        """Like ``64->128 3x3/2 @56``."""
        taps = "x".join(map(str, self.w_shape[2:]))
        kind = " depthwise" if self.w_shape[1] == 1 else ""
        return f"{self.x_shape[1]}->{self.w_shape[0]} {taps}/{self.stride[0]} @{self.x_shape[2]}{kind}"


def convolutions(model: onnx.ModelProto) -> Counter[ConvLayer]:
    """How often the model has each convolution, in the order of its nodes."""
    graph = shape_inference.infer_shapes(model).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        shapes.setdefault(value.name, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim))
    found: Counter[ConvLayer] = Counter()
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        layer = ConvLayer(
            shapes[node.input[0]],
            shapes[node.input[1]],
            tuple(attributes.get("strides", (1, 1))),
            tuple(attributes.get("pads", (0, 0, 0, 0))),
            attributes.get("group", 1),
        )
        found[layer] += 1
    return found
