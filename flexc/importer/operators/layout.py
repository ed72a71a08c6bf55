"""Operators that give the same elements another shape or order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import Shape, ShapeError, broadcast, normalize_axes, normalize_axis


def reshaped(node: Node, x: Value, shape: Shape) -> Value:
    """``x`` under another shape: ``x`` itself if that is its shape."""
    return x if shape == x.spec.shape else node.emit(nn.ReshapeOp, x, shape=shape)


def _reshape(node: Node) -> tuple[Value, ...]:
    x, wanted = node.operand(0), node.integer_operand(1, "the shape")
    return (reshaped(node, x, _target_shape(node, x, wanted, keep_zeros=node.flag("allowzero"))),)


def _target_shape(node: Node, x: Value, wanted: Shape, *, keep_zeros: bool) -> Shape:
    """``wanted`` with 0 taken from x's own shape and -1 inferred."""
    shape = list(wanted)
    for dim, extent in enumerate(wanted):
        if extent < -1 or (extent == 0 and not keep_zeros and dim >= x.spec.rank):
            raise node.error("FX203", f"the new shape {list(wanted)} has {extent} for dimension {dim}")
        if extent == 0 and not keep_zeros:
            shape[dim] = x.spec.shape[dim]
    if shape.count(-1) > 1:
        raise node.error("FX203", f"the new shape {list(wanted)} leaves more than one dimension open")
    if -1 in shape:
        rest = prod(extent for extent in shape if extent != -1)
        if rest == 0 or x.spec.size % rest:
            raise node.error(
                "FX203",
                f"{x.spec.size} elements do not fill the new shape {list(wanted)}",
                hint="was the model exported for another input shape or batch?",
            )
        shape[shape.index(-1)] = x.spec.size // rest
    if prod(shape) != x.spec.size:
        raise node.error(
            "FX203",
            f"{x.spec.size} elements, but the new shape {shape} has {prod(shape)}",
            hint="was the model exported for another input shape or batch?",
        )
    return tuple(shape)


def _flatten(node: Node) -> tuple[Value, ...]:
    x, axis = node.operand(0), node.integer("axis", 1)
    if not -x.spec.rank <= axis <= x.spec.rank:
        raise node.error("FX203", f"axis {axis} of a tensor of rank {x.spec.rank}")
    split = axis + x.spec.rank if axis < 0 else axis
    return (reshaped(node, x, (prod(x.spec.shape[:split]), prod(x.spec.shape[split:]))),)


def _squeeze_attribute(node: Node) -> tuple[Value, ...]:
    return _squeeze(node, node.integers("axes", ()))


def _squeeze_operand(node: Node) -> tuple[Value, ...]:
    return _squeeze(node, () if node.optional_operand(1) is None else node.integer_operand(1, "the axes"))


def _squeeze(node: Node, axes: Sequence[int]) -> tuple[Value, ...]:
    x = node.operand(0)
    removed = _axes(node, axes, x.spec.rank)
    if not axes:
        removed = tuple(dim for dim, extent in enumerate(x.spec.shape) if extent == 1)
    if any(x.spec.shape[dim] != 1 for dim in removed):
        raise node.error("FX203", f"dimensions {list(removed)} are not all of extent 1")
    return (reshaped(node, x, tuple(n for dim, n in enumerate(x.spec.shape) if dim not in removed)),)


def _unsqueeze_attribute(node: Node) -> tuple[Value, ...]:
    return _unsqueeze(node, node.integers("axes"))


def _unsqueeze_operand(node: Node) -> tuple[Value, ...]:
    return _unsqueeze(node, node.integer_operand(1, "the axes"))


def _unsqueeze(node: Node, axes: Sequence[int]) -> tuple[Value, ...]:
    x = node.operand(0)
    inserted = _axes(node, axes, x.spec.rank + len(axes))
    extents = iter(x.spec.shape)
    shape = tuple(1 if dim in inserted else next(extents) for dim in range(x.spec.rank + len(axes)))
    return (reshaped(node, x, shape),)


def _axes(node: Node, axes: Sequence[int], rank: int) -> Shape:
    try:
        return normalize_axes(axes, rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal


def _transpose(node: Node) -> tuple[Value, ...]:
    x = node.operand(0)
    permutation = node.integers("perm", tuple(reversed(range(x.spec.rank))))
    if permutation == tuple(range(x.spec.rank)):
        return (x,)
    return (node.emit(nn.TransposeOp, x, permutation=permutation),)


def _expand(node: Node) -> tuple[Value, ...]:
    x, wanted = node.operand(0), node.integer_operand(1, "the shape")
    if any(extent < 0 for extent in wanted):
        raise node.error("FX203", f"the shape {list(wanted)} has a negative extent")
    try:
        shape = broadcast(x.spec.shape, wanted)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal
    return (x if shape == x.spec.shape else node.emit(nn.ExpandOp, x, shape=shape),)


def _concat(node: Node) -> tuple[Value, ...]:
    operands = node.operands()
    try:
        axis = normalize_axis(node.integer("axis"), operands[0].spec.rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal
    return (operands[0] if len(operands) == 1 else node.emit(nn.ConcatOp, operands, axis=axis),)


def _identity(node: Node) -> tuple[Value, ...]:
    return (node.operand(0),)


LAYOUT: Family = {
    "Concat": {4: _concat},
    "Expand": {8: _expand},
    "Flatten": {1: _flatten},
    "Identity": {1: _identity},
    "Reshape": {5: _reshape},
    "Squeeze": {1: _squeeze_attribute, 13: _squeeze_operand},
    "Transpose": {1: _transpose},
    "Unsqueeze": {1: _unsqueeze_attribute, 13: _unsqueeze_operand},
}
