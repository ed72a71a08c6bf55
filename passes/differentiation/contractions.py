"""Gradients of contractions: a local gradient and a weight gradient each, with their roles.

Of a product of two activations, as in attention, both gradients are local.
"""

from __future__ import annotations

from math import prod

from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.train import RoleAttr, role_of
from flexc.passes.differentiation.builder import Builder, shape_of
from flexc.passes.differentiation.reverse import Gradients
from flexc.precision.policy import Operand, TrainingPass


def conv(op: nn.ConvOp, g: SSAValue, to: Gradients) -> None:
    """Local gradient, weight gradient, and the bias's: g summed over images and positions."""
    b = to.build
    if to.wants(op.x):
        role = _role(op, TrainingPass.LOCAL_GRAD, Operand.GRADIENT, Operand.WEIGHT)
        to.add(op.x, _with_role(b.copy(op, nn.ConvLocalGradOp, g, op.w, shape=shape_of(op.x)), role))
    if to.wants(op.w):
        role = _role(op, TrainingPass.WEIGHT_GRAD, Operand.GRADIENT, Operand.ACTIVATION)
        to.add(op.w, _with_role(b.copy(op, nn.ConvWeightGradOp, g, op.x, shape=shape_of(op.w)), role))
    if op.bias is not None and to.wants(op.bias):
        axes = tuple(axis for axis in range(len(shape_of(g))) if axis != 1)
        to.add(op.bias, b.op(nn.ReduceSumOp, g, axes=axes, keepdims=False))


def matmul(op: nn.MatMulOp, g: SSAValue, to: Gradients) -> None:
    """g @ b^T and a^T @ g, batches that broadcasting repeated summed inside the product where b has none."""
    a_is, b_is = (Operand(word) for word in _words(op))
    build = to.build
    if to.wants(op.a):
        pass_ = TrainingPass.WEIGHT_GRAD if a_is is Operand.WEIGHT else TrainingPass.LOCAL_GRAD
        role = _role(op, pass_, Operand.GRADIENT, b_is)
        to.add(op.a, build.op(nn.MatMulOp, g, _transposed(build, op.b), role=role))
    if to.wants(op.b):
        pass_ = TrainingPass.WEIGHT_GRAD if b_is is Operand.WEIGHT else TrainingPass.LOCAL_GRAD
        role = _role(op, pass_, a_is, Operand.GRADIENT)
        left, right = op.a, g
        if prod(shape_of(op.b)[:-2]) == 1 and shape_of(op.a)[:-2] == shape_of(g)[:-2]:
            left, right = (_rows(build, one) for one in (left, right))
        product = build.op(nn.MatMulOp, _transposed(build, left), right, role=role)
        fits = prod(shape_of(product)) == prod(shape_of(op.b))
        to.add(op.b, build.reshape(product, shape_of(op.b)) if fits else product)
    if op.bias is not None:
        to.add(op.bias, g)


def _words(op: nn.MatMulOp) -> tuple[str, str]:
    role = role_of(op)
    if role is None:
        return Operand.ACTIVATION, Operand.ACTIVATION
    left, right = (operand.data for operand in role.operands)
    return left, right


def _role(op: Operation, training_pass: TrainingPass, left: Operand, right: Operand) -> RoleAttr | None:
    """The role of a gradient of the contraction ``op``, if ``op`` has one."""
    forward = role_of(op)
    if forward is None:
        return None
    return RoleAttr.of(
        forward.layer.data,
        training_pass,
        (left, right),
        [kind.data for kind in forward.kinds],
        first=bool(forward.first.data),
        last=bool(forward.last.data),
    )


def _with_role(value: SSAValue, role: RoleAttr | None) -> SSAValue:
    if role is not None:
        assert isinstance(value.owner, Operation)
        value.owner.attributes["role"] = role
    return value


def _transposed(b: Builder, value: SSAValue) -> SSAValue:
    rank = len(shape_of(value))
    return b.op(nn.TransposeOp, value, permutation=(*range(rank - 2), rank - 1, rank - 2))


def _rows(b: Builder, value: SSAValue) -> SSAValue:
    shape = shape_of(value)
    return b.reshape(value, (prod(shape[:-1]), shape[-1]))
