"""Gradients of normalizations and softmax (numerics specification, sections 3.8 and 4)."""

from __future__ import annotations

from xdsl.ir import SSAValue

from flexc.ir import nn, train
from flexc.ir.shapes import Shape
from flexc.passes.differentiation.builder import Builder, shape_of
from flexc.passes.differentiation.reverse import Gradients


def batch_norm_of_batch(op: train.BatchNormOp, g: SSAValue, to: Gradients) -> None:
    """With the statistics of the batch: one op, which sees through them."""
    results = to.build.ops(train.BatchNormGradOp, g, op.x, op.gamma, op.mean, op.scale)
    for operand, gradient in zip((op.x, op.gamma, op.beta), results, strict=True):
        to.add(operand, gradient)


def batch_norm(op: nn.BatchNormOp, g: SSAValue, to: Gradients) -> None:
    """With given statistics: scale = gamma / sqrt(var + eps), as the op computes it.

    dx = g * scale; dgamma is the sum of g * ((x - mean) / sqrt(var + eps)); dbeta that of g.
    """
    b, x = to.build, op.x
    axes = tuple(axis for axis in range(len(shape_of(x))) if axis != 1)
    column: Shape = (-1, *(1,) * (len(shape_of(x)) - 2))
    column = (shape_of(x)[1], *column[1:])
    deviation = b.op(nn.SqrtOp, b.op(nn.AddOp, op.var, b.scalar(float(op.eps.value.data))))
    if to.wants(x):
        scale = b.op(nn.DivOp, op.gamma, deviation)
        to.add(x, b.op(nn.MulOp, g, b.reshape(scale, column)))
    if to.wants(op.gamma):
        centred = b.op(nn.SubOp, x, b.reshape(op.mean, column))
        xhat = b.op(nn.DivOp, centred, b.reshape(deviation, column))
        to.add(op.gamma, b.op(nn.ReduceSumOp, b.op(nn.MulOp, g, xhat), axes=axes, keepdims=False))
    if to.wants(op.beta):
        to.add(op.beta, b.op(nn.ReduceSumOp, g, axes=axes, keepdims=False))


def layer_norm(op: nn.LayerNormOp, g: SSAValue, to: Gradients) -> None:
    """d, r and xhat = d * r as the op computes them; h = g * gamma;
    dx = ((h - mean(h)) - xhat * mean(h * xhat)) * r; dgamma sums g * xhat, dbeta g."""
    b = to.build
    rank = len(shape_of(op.x))
    axes = tuple(range(int(op.axis.value.data) % rank, rank))

    def mean(value: SSAValue) -> SSAValue:
        return b.op(nn.ReduceMeanOp, value, axes=axes, keepdims=True)

    centred = b.op(nn.SubOp, op.x, mean(op.x))
    variance = b.op(nn.AddOp, mean(b.op(nn.MulOp, centred, centred)), b.scalar(float(op.eps.value.data)))
    r = b.op(nn.ReciprocalOp, b.op(nn.SqrtOp, variance))
    xhat = b.op(nn.MulOp, centred, r)
    if to.wants(op.x):
        h = b.op(nn.MulOp, g, op.gamma)
        along = b.op(nn.MulOp, xhat, mean(b.op(nn.MulOp, h, xhat)))
        across = b.op(nn.SubOp, b.op(nn.SubOp, h, mean(h)), along)
        to.add(op.x, b.op(nn.MulOp, across, r))
    to.add(op.gamma, b.op(nn.MulOp, g, xhat))
    if op.beta is not None:
        to.add(op.beta, g)


def softmax(op: nn.SoftmaxOp, g: SSAValue, to: Gradients) -> None:
    """y * (g - reduce_sum(g * y))."""
    b = to.build
    total = _sum(b, b.op(nn.MulOp, g, op.out), int(op.axis.value.data))
    to.add(op.x, b.op(nn.MulOp, op.out, b.op(nn.SubOp, g, total)))


def log_softmax(op: nn.LogSoftmaxOp, g: SSAValue, to: Gradients) -> None:
    """g - exp(y) * reduce_sum(g)."""
    b = to.build
    total = _sum(b, g, int(op.axis.value.data))
    to.add(op.x, b.op(nn.SubOp, g, b.op(nn.MulOp, b.op(nn.ExpOp, op.out), total)))


def _sum(b: Builder, value: SSAValue, axis: int) -> SSAValue:
    return b.op(nn.ReduceSumOp, value, axes=(axis % len(shape_of(value)),), keepdims=True)
