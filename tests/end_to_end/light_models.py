"""The models that the onnx package carries as test data, with weights that tell values apart.

The package stores nearly every weight as a ``ConstantOfShape``: all elements of a tensor, and all values of
the output, are equal. Here each fp32 constant is drawn from a seeded generator, at a scale that keeps
activations near one; how depends on the operand of the node that it ends in.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from enum import Enum

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]

LIGHT_MODELS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
FOLDER = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
IR_VERSION = 8
"""The first versions want every initializer among the inputs; from 4 on they are apart."""


class Role(Enum):
    """What a constant is to the node that computes with it."""

    CONV_WEIGHT = "conv weight"
    CONV_WEIGHT_AFTER_NORM = "weight of a conv without a relu before it"
    GEMM_WEIGHT = "gemm weight"
    SCALE = "scale"
    RESIDUAL_SCALE = "scale of what is added to a residual"
    SHIFT = "shift"
    VARIANCE = "variance"


ROLES: dict[tuple[str, int], Role] = {
    ("Conv", 1): Role.CONV_WEIGHT,
    ("Conv", 2): Role.SHIFT,
    ("Gemm", 1): Role.GEMM_WEIGHT,
    ("Gemm", 2): Role.SHIFT,
    ("BatchNormalization", 1): Role.SCALE,
    ("BatchNormalization", 2): Role.SHIFT,
    ("BatchNormalization", 3): Role.SHIFT,
    ("BatchNormalization", 4): Role.VARIANCE,
    ("Mul", 1): Role.SCALE,
    ("Add", 1): Role.SHIFT,
}


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """One of ``LIGHT_MODELS`` with drawn weights, all of them initializers.

    The operand of a final softmax is an output, too: a softmax may be one class and zeros.
    """
    model = onnx.load(os.path.join(FOLDER, f"light_{name}.onnx"))
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if _is_fp32(tensor)}
    lengths = {tensor.name: tensor for tensor in graph.initializer}
    filled = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in filled:
        shapes[node.output[0]] = tuple(
            int(extent) for extent in numpy_helper.to_array(lengths[node.input[0]])
        )
    roles = dict(_roles(graph, shapes))
    rng = np.random.default_rng(seed)
    drawn = [
        numpy_helper.from_array(_draw(rng, roles[name], shape), name)
        for name, shape in shapes.items()
        if name in roles
    ]
    read = {name for node in graph.node if node.op_type != "ConstantOfShape" for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read and not _is_fp32(tensor)]
    inputs = [value for value in graph.input if value.name not in lengths]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    outputs = list(graph.output)
    if nodes[-1].op_type == "Softmax":
        outputs.append(helper.make_tensor_value_info(nodes[-1].input[0], TensorProto.FLOAT, None))
    return helper.make_model(
        helper.make_graph(nodes, graph.name, inputs, outputs, [*kept, *drawn]),
        opset_imports=model.opset_import,
        ir_version=IR_VERSION,
    )


def _is_fp32(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT


def _roles(graph: onnx.GraphProto, constants: Collection[str]) -> Iterator[tuple[str, Role]]:
    """The role of each constant that is read, through the reshapes that stand before its use."""
    uses = defaultdict(list)
    operator_of = {node.output[0]: node.op_type for node in graph.node}
    for node in graph.node:
        for position, name in enumerate(node.input):
            uses[name].append((node, position))
    for name in constants:
        if name not in uses:
            continue
        (node, position), *_ = uses[name]
        while node.op_type in ("Reshape", "Unsqueeze"):
            (node, position), *_ = uses[node.output[0]]
        role = ROLES[node.op_type, position]
        if role is Role.CONV_WEIGHT and operator_of.get(node.input[0]) == "BatchNormalization":
            role = Role.CONV_WEIGHT_AFTER_NORM
        if role is Role.SCALE and uses[node.output[0]][0][0].op_type == "Sum":
            role = Role.RESIDUAL_SCALE
        yield name, role


def _draw(rng: np.random.Generator, role: Role, shape: tuple[int, ...]) -> Array:
    """Weights of variance 2 / fan-in after a relu (He et al., 2015), else 1 / fan-in."""
    match role:
        case Role.CONV_WEIGHT:
            return _normal(rng, shape, 2 / np.prod(shape[1:]))
        case Role.CONV_WEIGHT_AFTER_NORM:
            return _normal(rng, shape, 1 / np.prod(shape[1:]))
        case Role.GEMM_WEIGHT:
            return _normal(rng, shape, 1 / shape[-1])
        case Role.SHIFT:
            return _normal(rng, shape, 0.01)
        case Role.SCALE | Role.VARIANCE:
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        case Role.RESIDUAL_SCALE:
            return rng.uniform(0.25, 0.75, shape).astype(np.float32)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(variance))
