"""Functions of each element: activations, exponentials, roots."""

from __future__ import annotations

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.tensors import Array
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.tensor_op import TensorOp

_LOWEST, _LARGEST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)


def _function(op: type[TensorOp]) -> Importer:
    return lambda node: (node.emit(op, node.operand(0)),)


def _sign_function(op: type[TensorOp], of_integers: np.ufunc) -> Importer:
    """A function that shape arithmetic applies to integers too."""

    def convert(node: Node) -> tuple[Value, ...]:
        x = node.operand(0)
        known = node.known_elements(x)
        if known is not None:
            return (node.constant(np.asarray(of_integers(known), known.dtype)),)
        return (node.emit(op, x),)

    return convert


def _clip_attributes(node: Node) -> tuple[Value, ...]:
    return _clip(node, node.number("min", _LOWEST), node.number("max", _LARGEST))


def _clip_operands(node: Node) -> tuple[Value, ...]:
    minimum = None if node.optional_operand(1) is None else node.scalar_operand(1, "the minimum")
    maximum = None if node.optional_operand(2) is None else node.scalar_operand(2, "the maximum")
    x = node.operand(0)
    known = node.known_elements(x)
    if known is not None:
        return (node.constant(_clip_integers(known, minimum, maximum)),)
    return _clip(node, _LOWEST if minimum is None else minimum, _LARGEST if maximum is None else maximum)


def _clip(node: Node, minimum: float, maximum: float) -> tuple[Value, ...]:
    if np.isnan(minimum) or np.isnan(maximum):
        raise node.error("FX205", f"Clip to [{minimum}, {maximum}]")
    # The largest finite bounds stand for none: they change no finite element.
    low, high = (float(np.clip(bound, _LOWEST, _LARGEST)) for bound in (minimum, maximum))
    return (node.emit(nn.ClipOp, node.operand(0), minimum=low, maximum=high),)


def _clip_integers(array: Array, minimum: float | None, maximum: float | None) -> Array:
    bounds = np.iinfo(array.dtype)
    low = bounds.min if minimum is None else int(minimum)
    high = bounds.max if maximum is None else int(maximum)
    return np.asarray(np.minimum(np.maximum(array, low), high), array.dtype)


def _leaky_relu(node: Node) -> tuple[Value, ...]:
    return (node.emit(nn.LeakyReluOp, node.operand(0), alpha=node.number("alpha", 0.01)),)


def _hard_sigmoid(node: Node) -> tuple[Value, ...]:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return (node.emit(nn.HardSigmoidOp, node.operand(0), alpha=alpha, beta=beta),)


def _gelu(node: Node) -> tuple[Value, ...]:
    approximate = node.text("approximate", ("none", "tanh"), "none")
    return (node.emit(nn.GeluOp, node.operand(0), approximate=approximate),)


ACTIVATIONS: Family = {
    "Abs": {6: _sign_function(nn.AbsOp, np.absolute)},
    "Clip": {6: _clip_attributes, 11: _clip_operands},
    "Erf": {9: _function(nn.ErfOp)},
    "Exp": {6: _function(nn.ExpOp)},
    "Floor": {6: _function(nn.FloorOp)},
    "Gelu": {20: _gelu},
    "HardSigmoid": {6: _hard_sigmoid},
    "HardSwish": {14: _function(nn.HardSwishOp)},
    "LeakyRelu": {6: _leaky_relu},
    "Log": {6: _function(nn.LogOp)},
    "Neg": {6: _sign_function(nn.NegOp, np.negative)},
    "Reciprocal": {6: _function(nn.ReciprocalOp)},
    "Relu": {6: _function(nn.ReluOp)},
    "Sigmoid": {6: _function(nn.SigmoidOp)},
    "Sqrt": {6: _function(nn.SqrtOp)},
    "Tanh": {6: _function(nn.TanhOp)},
}
