"""Elementwise ops that leave every bit of their operand as it is, signed zeros and infinities included.

Constants count if they have one element. A whole vector of ones is a parameter that happens to be one, and
the product with it may be what tells a batch norm from something else.
"""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import real
from flexc.ir.program import Graph
from flexc.passes.building import constant_array, insert_before, replace


def by_one(op: nn.MulOp | nn.DivOp, graph: Graph) -> bool:
    """x * 1, 1 * x and x / 1 are x."""
    if _is_number(graph, op.rhs, 1):
        return _replace_by(op, op.lhs)
    return isinstance(op, nn.MulOp) and _is_number(graph, op.lhs, 1) and _replace_by(op, op.rhs)


def subtract_zero(op: nn.SubOp, graph: Graph) -> bool:
    """x - (+0) is x; x - (-0) is not where x is -0."""
    return _is_number(graph, op.rhs, 0.0) and _replace_by(op, op.lhs)


def add_negative_zero(op: nn.AddOp, graph: Graph) -> bool:
    """x + (-0) is x; x + (+0) is not where x is -0."""
    if _is_number(graph, op.rhs, -0.0):
        return _replace_by(op, op.lhs)
    return _is_number(graph, op.lhs, -0.0) and _replace_by(op, op.rhs)


def double_negation(op: nn.NegOp, graph: Graph) -> bool:
    """-(-x) is x."""
    return isinstance(op.x.owner, nn.NegOp) and _replace_by(op, op.x.owner.x)


def idempotent(op: nn.AbsOp | nn.ReluOp, graph: Graph) -> bool:
    """relu(relu(x)) is relu(x), and so is the absolute value's own."""
    return isinstance(op.x.owner, type(op)) and _replace_by(op, op.x)


def relu_of_clip(op: nn.ReluOp, graph: Graph) -> bool:
    """relu(clip(x, a, b)) is clip(x, a, b) if a >= 0."""
    inner = op.x.owner
    return isinstance(inner, nn.ClipOp) and inner.minimum.value.data >= 0 and _replace_by(op, op.x)


def clip_of_relu(op: nn.ClipOp, graph: Graph) -> bool:
    """clip(relu(x), a, b) is clip(x, 0, b) if a <= 0 <= b."""
    inner = op.x.owner
    if not isinstance(inner, nn.ReluOp) or not op.minimum.value.data <= 0 <= op.maximum.value.data:
        return False
    attributes = {"minimum": real(0.0), "maximum": op.maximum}
    replace(op, insert_before(op, nn.ClipOp, (inner.x,), op.out.type, attributes).out)
    return True


def clip_to_relu(op: nn.ClipOp, graph: Graph) -> bool:
    """clip(x, 0, inf) is relu(x)."""
    if op.minimum.value.data != 0 or op.maximum.value.data != math.inf:
        return False
    replace(op, insert_before(op, nn.ReluOp, (op.x,), op.out.type).out)
    return True


def _is_number(graph: Graph, value: SSAValue, expected: float) -> bool:
    """Whether ``value`` is a constant of one element, ``expected``; the sign of an fp32 zero counts."""
    array = constant_array(graph, value)
    if array is None or array.size != 1 or array.item() != expected:
        return False
    return array.dtype != np.float32 or math.copysign(1, array.item()) == math.copysign(1, expected)


def _replace_by(op: nn.BinaryOp | nn.UnaryOp, value: SSAValue) -> bool:
    # A constant of higher rank than x broadcasts x, and then the op does something after all.
    if value.type != op.out.type:
        return False
    replace(op, value)
    return True
