"""Normalizations and softmax."""

from __future__ import annotations

from functools import reduce
from math import prod

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import ShapeError, normalize_axis
from flexc.ir.tensor_op import TensorOp


def _batch_norm_by_outputs(node: Node) -> tuple[Value, ...]:
    """Before opset 14: training where further outputs are asked for.

    A training step takes the statistics of the batch in any case, and keeps running ones by itself.
    """
    if node.integer("spatial", 1) != 1:
        raise node.error("FX205", "statistics for each element (spatial = 0) are not supported")
    if node.output_count > 1 and not node.training:
        raise node.error(
            "FX205", "batch normalization in training mode", hint="export the model for inference"
        )
    return _batch_norm(node)


def _batch_norm_by_mode(node: Node) -> tuple[Value, ...]:
    if node.flag("training_mode") and not node.training:
        raise node.error(
            "FX205", "batch normalization in training mode", hint="export the model for inference"
        )
    return _batch_norm(node)


def _batch_norm(node: Node) -> tuple[Value, ...]:
    node.ignore("momentum")
    operands = [node.operand(index) for index in range(5)]
    return (node.emit(nn.BatchNormOp, *operands, eps=node.number("epsilon", 1e-5)),)


def _layer_norm(node: Node) -> tuple[Value, ...]:
    # The type of the statistics, which are fp32 here in any case.
    node.ignore("stash_type")
    x, gamma, beta = node.operand(0), node.operand(1), node.optional_operand(2)
    axis = _axis(node, -1, x.spec.rank)
    return (node.emit(nn.LayerNormOp, x, gamma, beta, axis=axis, eps=node.number("epsilon", 1e-5)),)


def _axis(node: Node, default: int, rank: int) -> int:
    try:
        return normalize_axis(node.integer("axis", default), rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal


def _softmax(op: type[TensorOp]) -> Importer:
    def convert(node: Node) -> tuple[Value, ...]:
        x = node.operand(0)
        return (node.emit(op, x, axis=_axis(node, -1, x.spec.rank)),)

    return convert


def _softmax_flattened(op: type[TensorOp]) -> Importer:
    """Before opset 13: over all dimensions from ``axis`` on together."""

    def convert(node: Node) -> tuple[Value, ...]:
        x = node.operand(0)
        shape = x.spec.shape
        axis = _axis(node, 1, x.spec.rank)
        if prod(shape[axis:]) == shape[-1]:
            return (node.emit(op, x, axis=len(shape) - 1),)
        rows = (prod(shape[:axis]), prod(shape[axis:]))
        flat = node.emit(nn.ReshapeOp, x, shape=rows, name=node.inner_name("rows"))
        result = node.emit(op, flat, axis=1, name=node.inner_name("flat"))
        return (node.emit(nn.ReshapeOp, result, shape=shape),)

    return convert


def _local_response_norm(node: Node) -> tuple[Value, ...]:
    """``x / (bias + alpha / size * sum of squares over size channels) ** beta``."""
    x = node.operand(0)
    size = node.integer("size")
    if size < 1 or x.spec.rank < 2:
        raise node.error("FX203", f"a window of {size} channels over a tensor of rank {x.spec.rank}")
    squares = node.emit(nn.MulOp, x, x, name=node.inner_name("squares"))
    total = _windows_over_channels(node, squares, size)
    scaled = _with_constant(node, nn.MulOp, total, node.number("alpha", 1e-4) / size, "scale")
    shifted = _with_constant(node, nn.AddOp, scaled, node.number("bias", 1.0), "bias")
    divisor = _with_constant(node, nn.PowOp, shifted, node.number("beta", 0.75), "exponent")
    return (node.emit(nn.DivOp, x, divisor),)


def _windows_over_channels(node: Node, x: Value, size: int) -> Value:
    """Sums over ``size`` neighbouring channels, from the first on; the even one out lies behind."""
    rank, shape = x.spec.rank, x.spec.shape
    # Channels further away than there are any add nothing.
    begin, end = min((size - 1) // 2, shape[1] - 1), min(size // 2, shape[1] - 1)
    pads = [0] * (2 * rank)
    pads[1], pads[rank + 1] = begin, end
    padded = node.emit(nn.PadOp, x, pads=pads, mode="constant", value=0.0, name=node.inner_name("padded"))
    shifted = [
        node.emit(
            nn.SliceOp,
            padded,
            starts=tuple(offset if dim == 1 else 0 for dim in range(rank)),
            sizes=shape,
            steps=(1,) * rank,
            name=node.inner_name(f"channel{offset}"),
        )
        for offset in range(begin + end + 1)
    ]
    return reduce(lambda sum_, each: node.emit(nn.AddOp, sum_, each, name=node.inner_name("sum")), shifted)


def _with_constant(node: Node, op: type[TensorOp], x: Value, number: float, part: str) -> Value:
    constant = node.constant(np.array(number, np.float32), node.inner_name(part))
    return node.emit(op, x, constant, name=node.inner_name(f"{part}d"))


NORMALIZATION: Family = {
    "BatchNormalization": {7: _batch_norm_by_outputs, 14: _batch_norm_by_mode},
    "LRN": {1: _local_response_norm},
    "LayerNormalization": {17: _layer_norm},
    "LogSoftmax": {1: _softmax_flattened(nn.LogSoftmaxOp), 13: _softmax(nn.LogSoftmaxOp)},
    "Softmax": {1: _softmax_flattened(nn.SoftmaxOp), 13: _softmax(nn.SoftmaxOp)},
}
