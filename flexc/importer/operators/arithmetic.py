"""Arithmetic of two or more operands, and conversion of elements."""

from __future__ import annotations

from functools import reduce

import numpy as np

from flexc.importer.limits import require_computed_fits
from flexc.importer.node import Node
from flexc.importer.operators.registry import Family, Importer
from flexc.importer.tensors import Array, element_of
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import Element, ShapeError, broadcast
from flexc.ir.tensor_op import TensorOp


def _binary(op: type[TensorOp]) -> Importer:
    return lambda node: (node.emit(op, node.operand(0), node.operand(1)),)


def _chain(op: type[TensorOp]) -> Importer:
    """Any number of operands, combined from the left."""

    def convert(node: Node) -> tuple[Value, ...]:
        return (_combined(node, op),)

    return convert


def _combined(node: Node, op: type[TensorOp]) -> Value:
    return reduce(lambda total, operand: node.emit(op, total, operand), node.operands())


def _mean(node: Node) -> tuple[Value, ...]:
    total = _combined(node, nn.AddOp)
    count = node.constant(np.array(len(node.operands()), np.float32), node.inner_name("count"))
    return (node.emit(nn.DivOp, total, count),)


def _power(node: Node) -> tuple[Value, ...]:
    base, exponent = node.operand(0), node.operand(1)
    known = node.known_elements(base), node.known_elements(exponent)
    if known[0] is not None and known[1] is not None:
        return (_integers_combined(node, np.power, known[0], known[1]),)
    if exponent.spec.element != "f32":
        exponent = cast_value(node, exponent, "f32", node.inner_name("exponent"))
    return (node.emit(nn.PowOp, base, exponent),)


def _remainder(node: Node) -> tuple[Value, ...]:
    fmod = node.flag("fmod")
    dividend, divisor = (node.constant_operand(index, "an operand of Mod") for index in (0, 1))
    return (_integers_combined(node, np.fmod if fmod else np.mod, dividend, divisor),)


def _integers_combined(node: Node, function: np.ufunc, lhs: Array, rhs: Array) -> Value:
    """A function of two broadcast constants; CompileError FX203 (shapes), FX206 (size), FX208 (no result)."""
    try:
        shape = broadcast(lhs.shape, rhs.shape)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal
    require_computed_fits(shape, node.place, "the result")
    undefined = rhs < 0 if function is np.power else rhs == 0
    if undefined.any():
        raise node.error(
            "FX208", f"constant arithmetic fails: {node.op_type} with {rhs[undefined][0]} on the right"
        )
    with np.errstate(all="ignore"):
        return node.constant(np.asarray(function(lhs, rhs), lhs.dtype))


def _cast(node: Node) -> tuple[Value, ...]:
    # How a conversion to 8-bit or 4-bit floats rounds, types that the IR lacks.
    node.ignore("saturate", "round_mode")
    element = element_of(node.integer("to"), "the result", node.place)
    return (cast_value(node, node.operand(0), element),)


def cast_value(node: Node, x: Value, element: Element, name: str = "") -> Value:
    """``x`` with another element type; ``x`` itself if it has that type."""
    return x if x.spec.element == element else node.emit(nn.CastOp, x, to=element, name=name)


ARITHMETIC: Family = {
    "Add": {7: _binary(nn.AddOp)},
    "Cast": {6: _cast},
    "Div": {7: _binary(nn.DivOp)},
    "Max": {6: _chain(nn.MaximumOp)},
    "Mean": {6: _mean},
    "Min": {6: _chain(nn.MinimumOp)},
    "Mod": {10: _remainder},
    "Mul": {7: _binary(nn.MulOp)},
    "Pow": {7: _power},
    "Sub": {7: _binary(nn.SubOp)},
    "Sum": {6: _chain(nn.AddOp)},
}
