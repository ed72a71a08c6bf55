"""Draw the masks of dropouts with the random bits of a quantization, which the machine has.

    %m = train.dropout_mask %step {ratio = 0.25, seed = 1, node = 4095}      // tensor<6x4xf32>
        ->
    %x = nn.expand %value                                                    // 5 - 0.25, tensor<24xf32>
    %q = bfp.quantize %x step %step {rounding = "stochastic", seed = 1, stream = 4095}   // m4
    %m = nn.reshape ((bfp.dequantize %q - 4) * 4/3)

Every bit stays. With T = floor(ratio * 2^16), the value 5 - T / 2^16 shares its exponent with all others, so
that a unit of its 3-bit magnitude is 1 and it becomes 5 where the random bits are T or more, otherwise 4.
Elements keep their row-major index, which is what the random bits depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from flexc.ir import bfp, nn, train
from flexc.ir.program import Graph
from flexc.ir.shapes import TensorSpec
from flexc.ir.tensor_op import tensor_type
from flexc.numerics.block_float import GROUP_LENGTH, Rounding
from flexc.passes.base import Pass
from flexc.passes.building import insert_before, replace
from flexc.passes.differentiation.builder import Builder, shape_of

MANTISSA_BITS = 4
DROPPED = 4
"""The magnitude of what is dropped: the smallest of three bits with the first one set."""


@dataclass(frozen=True)
class ExpandDropout(Pass):
    """Replaces every ``train.dropout_mask``."""

    name: ClassVar[str] = "expand-dropout"

    def run(self, graph: Graph) -> bool:
        """Never fails."""
        masks = [op for op in graph.main.body.block.ops if isinstance(op, train.DropoutMaskOp)]
        for op in masks:
            replace(op, _drawn(op, graph))
        return bool(masks)


def _drawn(op: train.DropoutMaskOp, graph: Graph) -> SSAValue:
    b = Builder(graph, op)
    shape = shape_of(op.out)
    count, ratio = prod(shape), float(op.ratio.value.data)
    with b.on_behalf_of(op, op.out.name_hint):
        value = b.expand(b.scalar(DROPPED + 1 - int(ratio * 2**16) / 2**16), (count,))
        block = bfp.block_tensor((count,), MANTISSA_BITS, (GROUP_LENGTH[MANTISSA_BITS],))
        attributes = {"rounding": StringAttr(Rounding.STOCHASTIC), "seed": op.seed, "stream": op.node}
        drawn = insert_before(op, bfp.QuantizeOp, (value, op.step), block, attributes)
        plain = tensor_type(TensorSpec((count,)))
        kept = b.op(nn.SubOp, insert_before(op, bfp.DequantizeOp, (drawn.out,), plain).out, b.scalar(DROPPED))
        mask = b.op(nn.MulOp, kept, b.scalar(float(np.float32(1 / (1 - ratio)))))
        return b.reshape(mask, shape)
