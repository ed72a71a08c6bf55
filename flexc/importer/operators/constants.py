"""Operators whose result is known at import: constants, and what follows from shapes alone."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from flexc.importer.limits import require_computed_fits, require_tensor_fits
from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.values import Value
from flexc.ir.shapes import Shape


def _constant(node: Node) -> tuple[Value, ...]:
    if node.has("value"):
        return (node.constant(node.tensor("value")),)
    if node.has("value_float"):
        return (node.constant(np.array(node.number("value_float"), np.float32)),)
    if node.has("value_floats"):
        return (node.constant(np.array(node.numbers("value_floats"), np.float32)),)
    if node.has("value_int"):
        return (node.constant(np.array(node.integer("value_int"), np.int64)),)
    if node.has("value_ints"):
        return (node.constant(np.array(node.integers("value_ints"), np.int64)),)
    raise node.error(
        "FX207",
        "a Constant without a value, or with a sparse one or a string",
        hint="constants are dense tensors",
    )


def _constant_of_shape(node: Node) -> tuple[Value, ...]:
    value = node.tensor("value") if node.has("value") else np.zeros(1, np.float32)
    if value.size != 1:
        raise node.error("FX202", f"attribute 'value' has {value.size} elements, but must have one")
    shape = _shape_operand(node, 0)
    require_tensor_fits(shape, node.place, "the result")
    return (node.constant(np.broadcast_to(value.reshape(()), shape)),)


def _shape_operand(node: Node, index: int) -> Shape:
    shape = node.integer_operand(index, "the shape")
    if any(extent < 0 for extent in shape):
        raise node.error("FX203", f"the shape {list(shape)} has a negative extent")
    return shape


def _shape(node: Node) -> tuple[Value, ...]:
    shape = node.operand(0).spec.shape
    start, end = node.integer("start", 0), node.integer("end", len(shape))
    return (node.constant(np.array(shape[slice(start, end)], np.int64)),)


def _size(node: Node) -> tuple[Value, ...]:
    return (node.constant(np.array(prod(node.operand(0).spec.shape), np.int64)),)


def _range(node: Node) -> tuple[Value, ...]:
    # The type in which half-precision ranges accumulate; there are none here.
    node.ignore("stash_type")
    start, limit, delta = (node.constant_operand(index, "a bound of Range") for index in range(3))
    if not (start.size == limit.size == delta.size == 1 and start.dtype == limit.dtype == delta.dtype):
        raise node.error("FX203", "the bounds of Range must be three numbers of one type")
    first, last, step = (bound.reshape(-1)[0].item() for bound in (start, limit, delta))
    if step == 0 or not np.isfinite((first, last, step)).all():
        raise node.error("FX208", f"constant arithmetic fails: a Range from {first} to {last} by {step}")
    whole = isinstance(first, int)
    count = len(range(first, last, step)) if whole else max(0, ceil((last - first) / step))
    require_computed_fits((count,), node.place, "the result")
    steps = np.arange(count, dtype=start.dtype) * np.asarray(step, start.dtype)
    return (node.constant(np.asarray(np.asarray(first, start.dtype) + steps, start.dtype)),)


def _non_zero(node: Node) -> tuple[Value, ...]:
    x = node.constant_operand(0, "the operand of NonZero")
    return (node.constant(np.array(np.nonzero(np.atleast_1d(x)), np.int64)),)


def _tile(node: Node) -> tuple[Value, ...]:
    x, repeats = node.constant_operand(0, "the operand of Tile"), node.integer_operand(1, "the repeats")
    if len(repeats) != x.ndim or any(count < 0 for count in repeats):
        raise node.error("FX203", f"{list(repeats)} repeats of a tensor of rank {x.ndim}")
    require_computed_fits(
        tuple(n * r for n, r in zip(x.shape, repeats, strict=True)), node.place, "the result"
    )
    return (node.constant(np.tile(x, repeats)),)


CONSTANTS: Family = {
    "Constant": {1: _constant},
    "ConstantOfShape": {9: _constant_of_shape},
    "NonZero": {9: _non_zero},
    "Range": {11: _range},
    "Shape": {1: _shape},
    "Size": {1: _size},
    "Tile": {6: _tile},
}
