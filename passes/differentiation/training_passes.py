"""Which part of a training step each op belongs to: the three passes of its layers, or the update.

Only contractions say it themselves (``role``). Of the others, ops up to the loss are forward. Behind it, what
follows from the state of optimizer and batch norms is the update, and so is what feeds only that, if it is
elementwise or no value of the model. What carries a local gradient on to a contraction, or prepares one, is
part of the local gradient; the rest is part of the weight gradient: its operands, and sums over images and
positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.passes.differentiation.signature import LOSS
from flexc.passes.scheduling.vector_functions import ELEMENTWISE_FUNCTIONS
from flexc.precision.policy import TrainingPass

StepPart: TypeAlias = Literal["forward", "local_grad", "weight_grad", "update"]
STEP_PARTS: tuple[StepPart, ...] = ("forward", "local_grad", "weight_grad", "update")
"""In the order in which a step has them, though gradients alternate."""


def step_parts(graph: Graph) -> dict[Operation, StepPart]:
    """The part of each op; all are forward in a function that is no training step."""
    *ops, end = graph.main.body.block.ops
    assert isinstance(end, ReturnOp)
    if LOSS not in graph.output_names:
        return dict.fromkeys(ops, "forward")
    loss = end.operands[graph.output_names.index(LOSS)].owner
    assert isinstance(loss, Operation)
    forward, behind = ops[: ops.index(loss) + 1], ops[ops.index(loss) + 1 :]
    updating = _update(forward, behind, set(graph.main.body.block.args))
    carrying = _carrying(behind)
    found: dict[Operation, StepPart] = dict.fromkeys(forward, "forward")
    for op in reversed(behind):
        found[op] = "update" if op in updating else _gradient(op, op in carrying, found)
    return found


def _update(forward: list[Operation], behind: list[Operation], arguments: set[SSAValue]) -> set[Operation]:
    """What follows from arguments that the forward pass does not read, and what else feeds only that.

    Weight decay and the corrections of Adam follow from weights and the step's number: from arguments alone.
    """
    reached = arguments - {operand for op in forward for operand in op.operands}
    of_values = {value for op in forward for value in op.results}
    found = set()
    for op in behind:
        if not reached.isdisjoint(op.operands):
            found.add(op)
            reached.update(op.results)
        elif not of_values.isdisjoint(op.operands):
            of_values.update(op.results)
    for op in reversed(behind):
        own = type(op) in ELEMENTWISE_FUNCTIONS or of_values.isdisjoint(op.results)
        if own and found.issuperset(_readers(op)):
            found.add(op)
    return found


def _carrying(behind: Iterable[Operation]) -> set[Operation]:
    """The ops that a local gradient reaches before the next contraction."""
    reached: set[SSAValue] = set()
    found = set()
    for op in behind:
        role = role_of(op)
        if role is not None and role.training_pass.data == TrainingPass.LOCAL_GRAD:
            reached.update(op.results)
        elif role is None and not reached.isdisjoint(op.operands):
            found.add(op)
            reached.update(op.results)
    return found


def _gradient(op: Operation, carries: bool, later: Mapping[Operation, StepPart]) -> StepPart:
    role = role_of(op)
    if role is not None:
        return "local_grad" if role.training_pass.data == TrainingPass.LOCAL_GRAD else "weight_grad"
    readers = [reader for reader in _readers(op) if reader in later]
    if any(later[reader] == "local_grad" for reader in readers):
        return "local_grad"
    to_contraction = any(role_of(reader) or isinstance(reader, bfp.QuantizeOp) for reader in readers)
    carries_on = carries and to_contraction and not isinstance(op, bfp.QuantizeOp)
    return "local_grad" if carries_on else "weight_grad"


def _readers(op: Operation) -> list[Operation]:
    return [use.operation for value in op.results for use in value.uses]
