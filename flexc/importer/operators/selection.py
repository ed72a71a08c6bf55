"""Operators that take parts of a tensor, or surround it: Slice, Split, Gather, Pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexc.importer.node import Node
from flexc.importer.operators.registry import Family
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.shapes import ShapeError, normalize_axis


def _axis(node: Node, axis: int, rank: int) -> int:
    try:
        return normalize_axis(axis, rank)
    except ShapeError as refusal:
        raise node.refused(refusal) from refusal


def _slice_attributes(node: Node) -> tuple[Value, ...]:
    starts, ends = node.integers("starts"), node.integers("ends")
    return _slice(node, starts, ends, node.integers("axes", range(len(starts))), (1,) * len(starts))


def _slice_operands(node: Node) -> tuple[Value, ...]:
    starts, ends = node.integer_operand(1, "the starts"), node.integer_operand(2, "the ends")
    axes: Sequence[int] = range(len(starts))
    if node.optional_operand(3) is not None:
        axes = node.integer_operand(3, "the axes")
    steps: Sequence[int] = (1,) * len(starts)
    if node.optional_operand(4) is not None:
        steps = node.integer_operand(4, "the steps")
    return _slice(node, starts, ends, axes, steps)


def _slice(
    node: Node, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> tuple[Value, ...]:
    x = node.operand(0)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise node.error(
            "FX203", f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps"
        )
    if 0 in steps:
        raise node.error("FX203", f"steps {list(steps)} with a 0")
    ranges = [range(extent) for extent in x.spec.shape]
    seen: set[int] = set()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        dim = _axis(node, axis, x.spec.rank)
        if dim in seen:
            raise node.error("FX203", f"axes {list(axes)} name a dimension twice")
        seen.add(dim)
        ranges[dim] = _taken(x.spec.shape[dim], start, end, step)
    return (_cut(node, x, ranges),)


def _taken(extent: int, start: int, end: int, step: int) -> range:
    """Positions from start to end, negative ones counted from the back, both then limited to the dimension.

    Going backwards the start is limited to the first element, not (as in Python) to the one before it.
    """
    start, end = (bound + extent if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return range(min(max(start, 0), extent), min(max(end, 0), extent), step)
    return range(min(max(start, 0), extent - 1), min(max(end, -1), extent - 1), step)


def _cut(node: Node, x: Value, ranges: Sequence[range], name: str = "") -> Value:
    """The elements of x at ``ranges``, one a dimension; x itself if that is all of it."""
    if all(taken == range(extent) for taken, extent in zip(ranges, x.spec.shape, strict=True)):
        return x
    return node.emit(
        nn.SliceOp,
        x,
        starts=tuple(taken.start if taken else 0 for taken in ranges),
        sizes=tuple(len(taken) for taken in ranges),
        steps=tuple(taken.step if taken else 1 for taken in ranges),
        name=name,
    )


def _split_attribute(node: Node) -> tuple[Value, ...]:
    return _split(node, node.integers("split", ()) or None, node.output_count)


def _split_operand(node: Node) -> tuple[Value, ...]:
    return _split(node, _split_sizes(node), node.output_count)


def _split_count(node: Node) -> tuple[Value, ...]:
    sizes, count = _split_sizes(node), node.integer("num_outputs", node.output_count)
    if sizes is None and count != node.output_count:
        raise node.error("FX202", f"attribute 'num_outputs' is {count}, but the node has {node.output_count}")
    return _split(node, sizes, count)


def _split_sizes(node: Node) -> tuple[int, ...] | None:
    return None if node.optional_operand(1) is None else node.integer_operand(1, "the sizes")


def _split(node: Node, sizes: tuple[int, ...] | None, count: int) -> tuple[Value, ...]:
    x = node.operand(0)
    axis = _axis(node, node.integer("axis", 0), x.spec.rank)
    extent = x.spec.shape[axis]
    if sizes is None:
        part = -(-extent // count)
        if extent % count and node.opset < 18:
            raise node.error("FX203", f"dimension {axis} of extent {extent} in {count} equal parts")
        sizes = tuple(min(part, max(extent - part * index, 0)) for index in range(count))
    if sum(sizes) != extent or min(sizes) < 0 or len(sizes) != node.output_count:
        raise node.error(
            "FX203",
            f"dimension {axis} of extent {extent} in parts {list(sizes)} for {node.output_count} outputs",
        )
    results = []
    for index, size in enumerate(sizes):
        ranges = [range(each) for each in x.spec.shape]
        start = sum(sizes[:index])
        ranges[axis] = range(start, start + size)
        results.append(_cut(node, x, ranges, node.output_name(index)))
    return tuple(results)


def _gather(node: Node) -> tuple[Value, ...]:
    x, indices = node.operand(0), node.operand(1)
    axis = _axis(node, node.integer("axis", 0), x.spec.rank)
    extent = x.spec.shape[axis]
    if indices.array is not None and indices.spec.element in ("i32", "i64"):
        outside = (indices.array < -extent) | (indices.array >= extent)
        if outside.any():
            first = int(np.asarray(indices.array)[outside][0])
            raise node.error("FX203", f"index {first} into dimension {axis} of extent {extent}")
    return (node.emit(nn.GatherOp, x, indices, axis=axis),)


def _pad_attributes(node: Node) -> tuple[Value, ...]:
    return _pad(node, node.integers("pads"), range(node.operand(0).spec.rank), node.number("value", 0.0))


def _pad_operands(node: Node) -> tuple[Value, ...]:
    pads = node.integer_operand(1, "the pads")
    value = 0.0 if node.optional_operand(2) is None else node.scalar_operand(2, "the value")
    axes: Sequence[int] = range(node.operand(0).spec.rank)
    if node.optional_operand(3) is not None:
        axes = node.integer_operand(3, "the axes")
    return _pad(node, pads, axes, value)


def _pad(node: Node, pads: Sequence[int], axes: Sequence[int], value: float) -> tuple[Value, ...]:
    x = node.operand(0)
    mode = node.text("mode", ("constant", "reflect", "edge"), "constant")
    if len(pads) != 2 * len(axes):
        raise node.error("FX203", f"{len(pads)} pads for {len(axes)} dimensions", hint="each takes two")
    every = [0] * (2 * x.spec.rank)
    for position, axis in enumerate(axes):
        dim = _axis(node, axis, x.spec.rank)
        every[dim], every[x.spec.rank + dim] = pads[position], pads[len(axes) + position]
    if not any(every):
        return (x,)
    return (node.emit(nn.PadOp, x, pads=every, mode=mode, value=float(value)),)


SELECTION: Family = {
    "Gather": {1: _gather},
    "Pad": {2: _pad_attributes, 11: _pad_operands},
    "Slice": {1: _slice_attributes, 10: _slice_operands},
    "Split": {2: _split_attribute, 13: _split_operand, 18: _split_count},
}
