"""Losses, composed of ``nn`` ops (numerics specification, section 4).

Of a batch in ``micro_batches`` a loss is that of one of them, its gradient that of the mean over all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

import numpy as np
from xdsl.ir import SSAValue

from flexc.diagnostics import Place, error
from flexc.ir import nn
from flexc.ir.shapes import TensorSpec
from flexc.passes.differentiation.builder import Builder, shape_of
from flexc.passes.differentiation.signature import CORRECT, LABELS, TARGETS, Signature


class Loss(StrEnum):
    """Losses that a training step can have."""

    CROSS_ENTROPY = "cross-entropy"
    MEAN_SQUARED_ERROR = "mean-squared-error"
    OUTPUT = "output"
    """The model computes it: its output has one element."""


@dataclass(frozen=True)
class LossValue:
    """The loss (rank 0), the gradient of what it is the loss of, and what else is worth knowing (rank 0)."""

    loss: SSAValue
    gradient: SSAValue
    metrics: Mapping[str, SSAValue] = field(default_factory=dict)


def logits_of(output: SSAValue) -> SSAValue:
    """The value behind a (log) softmax over the last axis; ``output`` itself where there is none.

    Cross entropy takes the softmax itself. Reshapes that leave the last axis alone do not hide it.
    """
    owner = output.owner
    classes = shape_of(output)[-1:]
    if isinstance(owner, nn.ReshapeOp) and shape_of(owner.x)[-1:] == classes:
        behind = logits_of(owner.x)
        return output if behind is owner.x else behind
    if isinstance(owner, nn.SoftmaxOp | nn.LogSoftmaxOp):
        rank = len(shape_of(output))
        if int(owner.axis.value.data) % rank == rank - 1:
            return owner.x
    return output


def cross_entropy(b: Builder, signature: Signature, logits: SSAValue, micro_batches: int) -> LossValue:
    """Over logits [..., classes] and labels [...] (i64), the mean over all rows."""
    *rows, classes = shape_of(logits)
    last, every = (len(rows),), tuple(range(len(rows) + 1))
    labels = signature.argument(LABELS, TensorSpec(tuple(rows), "i64"))
    numbers = b.constant(np.arange(classes, dtype=np.int64), "classes")
    one_hot = b.op(nn.EqualOp, b.reshape(labels, (*rows, 1)), numbers)

    top = b.op(nn.ReduceMaxOp, logits, axes=last, keepdims=True)
    exponentials = b.op(nn.ExpOp, b.op(nn.SubOp, logits, top))
    total = b.op(nn.ReduceSumOp, exponentials, axes=last, keepdims=True)
    of_label = b.op(nn.WhereOp, one_hot, logits, b.scalar(0))
    label = b.op(nn.ReduceSumOp, of_label, axes=last, keepdims=True)
    row_loss = b.op(nn.SubOp, b.op(nn.AddOp, b.op(nn.LogOp, total), top), label)
    loss = b.op(nn.ReduceMeanOp, row_loss, axes=every, keepdims=False)
    hits = b.cast(b.op(nn.EqualOp, label, top))
    correct = b.op(nn.ReduceSumOp, hits, axes=every, keepdims=False)

    surplus = b.op(nn.SubOp, b.op(nn.DivOp, exponentials, total), b.cast(one_hot))
    gradient = b.op(nn.MulOp, surplus, b.scalar(1 / (micro_batches * prod(rows))))
    return LossValue(loss, gradient, {CORRECT: correct})


def mean_squared_error(b: Builder, signature: Signature, output: SSAValue, micro_batches: int) -> LossValue:
    """Over the output and targets of its shape, the mean over all elements."""
    shape = shape_of(output)
    targets = signature.argument(TARGETS, TensorSpec(shape))
    difference = b.op(nn.SubOp, output, targets)
    squares = b.op(nn.MulOp, difference, difference)
    loss = b.op(nn.ReduceMeanOp, squares, axes=tuple(range(len(shape))), keepdims=False)
    return LossValue(loss, b.op(nn.MulOp, difference, b.scalar(2 / (micro_batches * prod(shape)))))


def output_itself(b: Builder, _signature: Signature, output: SSAValue, micro_batches: int) -> LossValue:
    """The loss that the model computes. CompileError FX341 if it is not one number."""
    shape = shape_of(output)
    if prod(shape) != 1:
        raise error(
            "FX341",
            f"an output of shape {list(shape)} is no loss",
            place=Place(b.graph.file),
            hint="a model's own loss has one element; otherwise choose a loss",
        )
    return LossValue(b.reshape(output, ()), b.expand(b.scalar(1 / micro_batches), shape))
