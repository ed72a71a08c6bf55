"""What a training step keeps of its forward pass until gradients and running statistics have read it."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, nn
from flexc.ir.placement import group_of
from flexc.ir.program import Graph
from flexc.passes.differentiation.signature import LOSS


def kept_for_backward(graph: Graph) -> tuple[SSAValue, ...]:
    """Results of ops up to the loss that ops behind it read, in order; arguments and constants stay anyway.

    In a scheduled graph an op runs with its group: a quantization for a weight gradient that has joined the
    group of its operand is what is kept, and not the operand. ValueError for a function that is no training
    step.
    """
    if LOSS not in graph.output_names:
        raise ValueError(f"the function is no training step: it has no result '{LOSS}'")
    *ops, end = graph.main.body.block.ops
    assert isinstance(end, ReturnOp)
    loss = end.operands[graph.output_names.index(LOSS)].owner
    assert isinstance(loss, Operation)
    turns = _turns(ops)
    return tuple(
        result
        for op in ops
        if turns[op] <= turns[loss] and not isinstance(op, nn.ConstantOp | bfp.ConstantOp)
        for result in op.results
        if any(turns.get(use.operation, 0) > turns[loss] for use in result.uses)
    )


def _turns(ops: Sequence[Operation]) -> dict[Operation, int]:
    """When each op runs: the index of its group, or its place where nothing is scheduled."""
    if not any(group_of(op) for op in ops):
        return {op: place for place, op in enumerate(ops)}
    found: dict[Operation, int] = {}
    for op in ops:
        group = group_of(op)
        # What moves nothing is there with what it reads.
        before = (found[value.owner] for value in op.operands if isinstance(value.owner, Operation))
        found[op] = max(before, default=-1) if group is None else group.index
    return found
