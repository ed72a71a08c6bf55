"""A graph run op by op, each through the kernel of its table entry: what every backend must match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc import numerics
from flexc.ir import bfp, nn
from flexc.ir.kernel_calls import KernelCall, kernel_call
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of

Array: TypeAlias = npt.NDArray[Any]


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs by name, for inputs by name."""
    values = evaluate_values(graph, inputs)
    last = graph.main.body.block.last_op
    assert isinstance(last, ReturnOp)
    return {name: np.asarray(values[x]) for name, x in zip(graph.output_names, last.operands, strict=True)}


def evaluate_values(graph: Graph, inputs: Mapping[str, Array]) -> dict[SSAValue, Any]:
    """Every value of the graph; quantized ones are block tensors."""
    values: dict[SSAValue, Any] = {
        argument: inputs[name]
        for argument, name in zip(graph.main.body.block.args, graph.input_names, strict=True)
    }
    for op in graph.main.body.block.ops:
        match op:
            case nn.ConstantOp():
                values[op.out] = graph.weights.get(op.key.data)
            case bfp.ConstantOp():
                assert isinstance(op.out.type, bfp.BlockTensorType)
                values[op.out] = graph.weights.block(op.key.data, op.out.type)
            case ReturnOp():
                pass
            case _:
                computed = _apply(kernel_call(op), values)
                results = (computed,) if len(op.results) == 1 else computed
                for value, result in zip(op.results, results, strict=True):
                    assert tuple(result.shape) == spec_of(value.type).shape, f"{op.name} of the wrong shape"
                    values[value] = result
    return values


def _apply(call: KernelCall, values: Mapping[SSAValue, Any]) -> Any:
    operands = [None if operand is None else values[operand] for operand in call.operands]
    result = getattr(numerics, call.function)(*operands, **dict(call.keywords))
    if call.activation is None:
        return result
    name, keywords = call.activation
    return getattr(numerics, name)(result, **dict(keywords))
