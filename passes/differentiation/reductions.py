"""Gradients of reductions and pooling."""

from __future__ import annotations

from math import prod
from typing import TypeAlias

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.shapes import normalize_axes
from flexc.passes.differentiation.builder import shape_of
from flexc.passes.differentiation.reverse import Gradients

Sum: TypeAlias = nn.ReduceSumOp | nn.ReduceMeanOp


def reduce_sum(op: nn.ReduceSumOp, g: SSAValue, to: Gradients) -> None:
    """g to every element."""
    to.add(op.x, _spread(op, g, to))


def reduce_mean(op: nn.ReduceMeanOp, g: SSAValue, to: Gradients) -> None:
    """g / R to every element."""
    count = prod(shape_of(op.x)[axis] for axis in _axes(op))
    to.add(op.x, _spread(op, to.build.op(nn.DivOp, g, to.build.scalar(float(count))), to))


def reduce_max(op: nn.ReduceMaxOp, g: SSAValue, to: Gradients) -> None:
    """g to the first maximum."""
    to.add(op.x, to.build.copy(op, nn.ReduceMaxGradOp, g, op.x, shape=shape_of(op.x)))


def max_pool(op: nn.MaxPoolOp, g: SSAValue, to: Gradients) -> None:
    """g to the first maximum of each window."""
    to.add(op.x, to.build.copy(op, nn.MaxPoolGradOp, g, op.x, shape=shape_of(op.x)))


def average_pool(op: nn.AveragePoolOp, g: SSAValue, to: Gradients) -> None:
    """g / count to each element of a window."""
    to.add(op.x, to.build.copy(op, nn.AveragePoolGradOp, g, shape=shape_of(op.x)))


def _spread(op: Sum, g: SSAValue, to: Gradients) -> SSAValue:
    reduced = _axes(op)
    kept = tuple(1 if axis in reduced else extent for axis, extent in enumerate(shape_of(op.x)))
    return to.build.expand(to.build.reshape(g, kept), shape_of(op.x))


def _axes(op: Sum) -> tuple[int, ...]:
    axes = literal(op.axes)
    assert isinstance(axes, tuple)
    return normalize_axes([int(axis) for axis in axes], len(shape_of(op.x)))
