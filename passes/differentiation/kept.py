"""What a training step keeps of its forward pass until gradients and running statistics have read it."""

from __future__ import annotations

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, nn
from flexc.ir.program import Graph
from flexc.passes.differentiation.signature import LOSS


def kept_for_backward(graph: Graph) -> tuple[SSAValue, ...]:
    """Results of ops up to the loss that ops behind it read, in order; arguments and constants stay anyway.

    ValueError for a function that is no training step.
    """
    if LOSS not in graph.output_names:
        raise ValueError(f"the function is no training step: it has no result '{LOSS}'")
    *ops, end = graph.main.body.block.ops
    assert isinstance(end, ReturnOp)
    loss = end.operands[graph.output_names.index(LOSS)].owner
    assert isinstance(loss, Operation)
    behind = set(ops[ops.index(loss) + 1 :])
    return tuple(
        result
        for op in ops
        if op not in behind and not isinstance(op, nn.ConstantOp | bfp.ConstantOp)
        for result in op.results
        if any(use.operation in behind for use in result.uses)
    )
