"""Where accuracy goes: the result of each ONNX node against the same node in the fp32 profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation

from flexc.analysis.compare import Distance, distance
from flexc.backends.executor.run import Value
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import SourceAttr
from flexc.ir.kernel_calls import kernel_call
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.numerics import BlockTensor
from flexc.program import Program

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """An ONNX node and the variable that holds its result in a program and in its fp32 counterpart.

    ``activation`` names what the program fused into the node; the reference is taken after it, too.
    """

    node_index: int
    node_name: str
    op_type: str
    activation: str
    variable: str
    reference_variable: str


@dataclass(frozen=True)
class LayerDistance:
    """The distance of one layer's result from that of the fp32 profile."""

    layer: Layer
    distance: Distance


def compare_layers(program: Program, reference: Program, inputs: Mapping[str, Array]) -> list[LayerDistance]:
    """Runs both programs on ``inputs`` and compares what each ONNX node gives, in the order of the model.

    ``reference`` is the same model in the fp32 profile (:func:`flexc.api.compile_reference`). Nodes that only
    one of the two computes are left out.
    """
    wanted = matching_layers(program.graph, reference.graph)
    by_variable = {layer.variable: layer for layer in wanted}
    needed = {layer.reference_variable for layer in wanted}
    expected: dict[str, Array] = {}
    found: dict[int, LayerDistance] = {}

    def keep_expected(**values: Value) -> None:
        for name, value in values.items():
            if name in needed and not isinstance(value, BlockTensor):
                expected[name] = value

    def keep_distance(**values: Value) -> None:
        for name, value in values.items():
            if name in by_variable and not isinstance(value, BlockTensor):
                layer = by_variable[name]
                apart = distance(name, expected.pop(layer.reference_variable), value)
                found[layer.node_index] = LayerDistance(layer, apart)

    reference.run(inputs, keep=keep_expected)
    program.run(inputs, keep=keep_distance)
    return [found[index] for index in sorted(found)]


def matching_layers(graph: Graph, reference: Graph) -> list[Layer]:
    """The ONNX nodes that both graphs compute, in the order of the model's node list."""
    names, reference_names = value_names(graph.main), value_names(reference.main)
    counterparts = _last_op_of_node(reference)
    layers = []
    for index, op in sorted(_last_op_of_node(graph).items()):
        other = counterparts.get(index)
        activation = _fused_activation(op)
        if other is not None and activation:
            other = _only_user(other, activation)
        if other is None:
            continue
        source = op.attributes["source"]
        assert isinstance(source, SourceAttr)
        layers.append(
            Layer(
                index,
                source.node_name.data,
                source.op_type.data,
                activation,
                names[op.results[0]],
                reference_names[other.results[0]],
            )
        )
    return layers


def _last_op_of_node(graph: Graph) -> dict[int, Operation]:
    """For each ONNX node the last op that computes a plain tensor for it."""
    found: dict[int, Operation] = {}
    for op in graph.main.body.block.ops:
        source = op.attributes.get("source")
        if not isinstance(source, SourceAttr) or isinstance(op, nn.ConstantOp | bfp.ConstantOp):
            continue
        if len(op.results) == 1 and isinstance(op.results[0].type, TensorType):
            found[source.node_index.data] = op
    return found


def _fused_activation(op: Operation) -> str:
    """The kernel of the activation that ``op`` ends with, or the empty string."""
    if not isinstance(op, lightnorm.InferOp):
        return ""
    call = kernel_call(op).activation
    return "" if call is None else call[0]


def _only_user(op: Operation, kernel: str) -> Operation | None:
    """The only user of ``op``, if its name is that of ``kernel``."""
    user = op.results[0].get_user_of_unique_use()
    return user if user is not None and user.name == f"nn.{kernel}" else None
