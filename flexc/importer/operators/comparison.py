"""Comparisons, logic, and choice between operands."""

from __future__ import annotations

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.tensor_op import TensorOp


def _comparison(op: type[TensorOp]) -> Importer:
    return lambda node: (node.emit(op, node.operand(0), node.operand(1)),)


def _or_equal(op: type[TensorOp]) -> Importer:
    """``op`` or equality: false for NaN, as its negated opposite would not be."""

    def convert(node: Node) -> tuple[Value, ...]:
        strict = node.emit(op, node.operand(0), node.operand(1), name=node.inner_name("strict"))
        equal = node.emit(nn.EqualOp, node.operand(0), node.operand(1), name=node.inner_name("equal"))
        return (node.emit(nn.WhereOp, strict, strict, equal),)

    return convert


def _not(node: Node) -> tuple[Value, ...]:
    false = node.constant(np.array(False), node.inner_name("false"))
    return (node.emit(nn.EqualOp, node.operand(0), false),)


def _and(node: Node) -> tuple[Value, ...]:
    lhs, rhs = node.operand(0), node.operand(1)
    return (node.emit(nn.WhereOp, lhs, rhs, lhs),)


def _or(node: Node) -> tuple[Value, ...]:
    lhs, rhs = node.operand(0), node.operand(1)
    return (node.emit(nn.WhereOp, lhs, lhs, rhs),)


def _where(node: Node) -> tuple[Value, ...]:
    return (node.emit(nn.WhereOp, node.operand(0), node.operand(1), node.operand(2)),)


COMPARISON: Family = {
    "And": {7: _and},
    "Equal": {7: _comparison(nn.EqualOp)},
    "Greater": {7: _comparison(nn.GreaterOp)},
    "GreaterOrEqual": {12: _or_equal(nn.GreaterOp)},
    "Less": {7: _comparison(nn.LessOp)},
    "LessOrEqual": {12: _or_equal(nn.LessOp)},
    "Not": {1: _not},
    "Or": {7: _or},
    "Where": {9: _where},
}
