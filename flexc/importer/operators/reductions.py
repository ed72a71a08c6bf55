"""Reductions over axes, given as an attribute or, later, as an operand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.tensors import Array
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import ShapeError, normalize_axes
from flexc.ir.tensor_op import TensorOp

_Fold = Callable[..., Array]


def _by_attribute(op: type[TensorOp] | None, of_constants: _Fold) -> Importer:
    def convert(node: Node) -> tuple[Value, ...]:
        axes = node.integers("axes", ())
        return _reduction(node, op, of_constants, axes or tuple(range(node.operand(0).spec.rank)))

    return convert


def _by_operand(op: type[TensorOp] | None, of_constants: _Fold) -> Importer:
    def convert(node: Node) -> tuple[Value, ...]:
        nothing = node.flag("noop_with_empty_axes")
        axes = () if node.optional_operand(1) is None else node.integer_operand(1, "the axes")
        if not axes and nothing:
            node.ignore("keepdims")
            return (node.operand(0),)
        return _reduction(node, op, of_constants, axes or tuple(range(node.operand(0).spec.rank)))

    return convert


def _reduction(
    node: Node, op: type[TensorOp] | None, of_constants: _Fold, axes: tuple[int, ...]
) -> tuple[Value, ...]:
    x, keepdims = node.operand(0), node.flag("keepdims", True)
    try:
        axes = normalize_axes(axes, x.spec.rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal
    if op is not None and x.spec.element == "f32":
        return (node.emit(op, x, axes=axes, keepdims=keepdims),)
    array = node.constant_operand(0, f"the operand of {node.op_type} of {x.spec.element}")
    return (node.constant(np.asarray(of_constants(array, axis=axes, keepdims=keepdims), array.dtype)),)


REDUCTIONS: Family = {
    "ReduceMax": {1: _by_attribute(nn.ReduceMaxOp, np.max), 18: _by_operand(nn.ReduceMaxOp, np.max)},
    "ReduceMean": {1: _by_attribute(nn.ReduceMeanOp, np.mean), 18: _by_operand(nn.ReduceMeanOp, np.mean)},
    "ReduceMin": {1: _by_attribute(None, np.min), 18: _by_operand(None, np.min)},
    "ReduceProd": {1: _by_attribute(None, np.prod), 18: _by_operand(None, np.prod)},
    "ReduceSum": {1: _by_attribute(nn.ReduceSumOp, np.sum), 13: _by_operand(nn.ReduceSumOp, np.sum)},
}
