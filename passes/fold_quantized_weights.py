"""Quantize weights at compile time.

    %w = nn.constant "conv1.weight" : tensor<64x3x7x7xf32>
    %q = bfp.quantize %w {...}       ->   %q = bfp.constant "conv1.weight.m8" : !bfp.tensor<64x3x7x7, m8, ...>

The store gets the mantissas and exponents; fp32 weights that nothing reads any more leave it. Without the
weight in the store (IR from text) the op changes all the same, and its new key has no value either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import StringAttr

from flexc import numerics
from flexc.diagnostics import error
from flexc.ir import bfp, nn
from flexc.ir.attributes import place_of
from flexc.ir.kernel_calls import kernel_call
from flexc.ir.program import Graph
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.errors import NonFiniteError
from flexc.passes.base import Pass
from flexc.passes.building import constant_array, constant_keys, insert_before, replace
from flexc.passes.dead_code import drop_unused_weights, erase_dead_ops


@dataclass(frozen=True)
class FoldQuantizedWeights(Pass):
    """No options."""

    name: ClassVar[str] = "fold-quantized-weights"

    def run(self, graph: Graph) -> bool:
        """Raises CompileError FX334 for a weight that holds a NaN or an infinity."""
        keys = constant_keys(graph) | set(graph.weights)
        changed = False
        for op in tuple(graph.main.body.block.ops):
            # Random bits of a training step cannot be drawn before it.
            if isinstance(op, bfp.QuantizeOp) and op.step is None and isinstance(op.x.owner, nn.ConstantOp):
                _fold(graph, op, op.x.owner, keys)
                changed = True
        erase_dead_ops(graph)
        drop_unused_weights(graph)
        return changed


def _fold(graph: Graph, op: bfp.QuantizeOp, weight: nn.ConstantOp, keys: set[str]) -> None:
    assert isinstance(op.out.type, bfp.BlockTensorType)
    key = _free_key(f"{weight.key.data}.m{op.out.type.mantissa_bits.data}", keys)
    keys.add(key)
    if constant_array(graph, op.x) is not None:
        key = graph.weights.add_block(key, _quantize(graph, op, weight))
    made = insert_before(op, bfp.ConstantOp, (), op.out.type, {"key": StringAttr(key)})
    replace(op, made.out)


def _quantize(graph: Graph, op: bfp.QuantizeOp, weight: nn.ConstantOp) -> BlockTensor:
    call = kernel_call(op)
    array = constant_array(graph, op.x)
    try:
        block = getattr(numerics, call.function)(array, **dict(call.keywords))
    except NonFiniteError as problem:
        raise error(
            "FX334",
            f"the weight '{weight.key.data}' cannot be quantized: {problem}",
            place=place_of(op, graph.file),
            hint="block floating point has no NaN and no infinity; mend the model's weights",
        ) from problem
    assert isinstance(block, BlockTensor)
    return block


def _free_key(key: str, taken: set[str]) -> str:
    candidate, number = key, 0
    while candidate in taken:
        number += 1
        candidate = f"{key}.{number}"
    return candidate
