"""Ops that only move elements: those that move nothing go, two in a row become one."""

from __future__ import annotations

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import integers
from flexc.ir.program import Graph
from flexc.passes.building import insert_before, replace, shape_of


def same_type(op: nn.ReshapeOp | nn.ExpandOp | nn.CastOp, graph: Graph) -> bool:
    """A reshape, expand or cast to the type that its operand has already."""
    return op.x.type == op.out.type and _replace_by(op, op.x)


def reshape_of_reshape(op: nn.ReshapeOp, graph: Graph) -> bool:
    """The shape in between does not matter."""
    inner = op.x.owner
    return isinstance(inner, nn.ReshapeOp) and _replace_by(
        op, insert_before(op, nn.ReshapeOp, (inner.x,), op.out.type).out
    )


def expand_of_expand(op: nn.ExpandOp, graph: Graph) -> bool:
    """The shape in between does not matter."""
    inner = op.x.owner
    return isinstance(inner, nn.ExpandOp) and _replace_by(
        op, insert_before(op, nn.ExpandOp, (inner.x,), op.out.type).out
    )


def expand_to_reshape(op: nn.ExpandOp, graph: Graph) -> bool:
    """An expand that only puts ones in front is a reshape."""
    if _without_ones(shape_of(op.x)) != _without_ones(shape_of(op.out)):
        return False
    return _replace_by(op, insert_before(op, nn.ReshapeOp, (op.x,), op.out.type).out)


def drop_expand(op: nn.BinaryOp, graph: Graph) -> bool:
    """An operand expanded to a shape that the other operand brings in any case: binary ops broadcast."""
    for index, other in ((0, op.rhs), (1, op.lhs)):
        expand = op.operands[index].owner
        if isinstance(expand, nn.ExpandOp) and shape_of(other) == shape_of(op.out):
            op.operands[index] = expand.x
            return True
    return False


def identity_transpose(op: nn.TransposeOp, graph: Graph) -> bool:
    """A transpose that leaves every dimension where it is."""
    permutation = tuple(op.permutation.get_values())
    return permutation == tuple(range(len(permutation))) and _replace_by(op, op.x)


def transpose_of_transpose(op: nn.TransposeOp, graph: Graph) -> bool:
    """Two permutations are one."""
    inner = op.x.owner
    if not isinstance(inner, nn.TransposeOp):
        return False
    first = tuple(inner.permutation.get_values())
    composed = integers([int(first[axis]) for axis in op.permutation.get_values()])
    attributes = {"permutation": composed}
    return _replace_by(op, insert_before(op, nn.TransposeOp, (inner.x,), op.out.type, attributes).out)


def transpose_to_reshape(op: nn.TransposeOp, graph: Graph) -> bool:
    """A transpose that only moves dimensions of extent 1 moves no element."""
    shape = shape_of(op.x)
    moved = [axis for axis in op.permutation.get_values() if shape[int(axis)] != 1]
    if moved != sorted(moved):
        return False
    return _replace_by(op, insert_before(op, nn.ReshapeOp, (op.x,), op.out.type).out)


def whole_slice(op: nn.SliceOp, graph: Graph) -> bool:
    """A slice of everything, in order."""
    forward = all(
        step == 1 or extent == 1 for step, extent in zip(op.steps.get_values(), shape_of(op.x), strict=True)
    )
    return forward and op.x.type == op.out.type and _replace_by(op, op.x)


def slice_of_slice(op: nn.SliceOp, graph: Graph) -> bool:
    """Starts and steps of two slices are those of one: element i of a dimension is start + i * step."""
    inner = op.x.owner
    if not isinstance(inner, nn.SliceOp):
        return False
    starts, steps = [], []
    for inner_start, inner_step, start, step in zip(
        inner.starts.get_values(),
        inner.steps.get_values(),
        op.starts.get_values(),
        op.steps.get_values(),
        strict=True,
    ):
        starts.append(int(inner_start + start * inner_step))
        steps.append(int(inner_step * step))
    attributes = {"starts": integers(starts), "sizes": op.sizes, "steps": integers(steps)}
    return _replace_by(op, insert_before(op, nn.SliceOp, (inner.x,), op.out.type, attributes).out)


def no_padding(op: nn.PadOp, graph: Graph) -> bool:
    """A pad by nothing."""
    return not any(op.pads.get_values()) and _replace_by(op, op.x)


def concat_of_one(op: nn.ConcatOp, graph: Graph) -> bool:
    """A concat of one tensor."""
    return len(op.inputs) == 1 and _replace_by(op, op.inputs[0])


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def _replace_by(op: nn.UnaryOp | nn.ConcatOp, value: SSAValue) -> bool:
    replace(op, value)
    return True
