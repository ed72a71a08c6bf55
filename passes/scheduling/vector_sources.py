"""What the ops of a vector group read: how each operand's dimensions follow those of the result.

A group walks the dimensions of one result shape, the domain. An operand dimension stands still (broadcast),
follows a dimension of the domain (perhaps in steps, or with a halo), or is taken whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf

from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.placement import Plane
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis


@dataclass(frozen=True)
class Tap:
    """A dimension that a reduction or window adds behind those of the domain."""

    index: int


@dataclass(frozen=True)
class AxisRule:
    """One operand dimension.

    Its coordinate is ``start + scale * d`` for element ``d`` of domain dimension ``follows``. ``halo``
    elements more than that are taken; ``taps`` tells the elements from one iteration of an added dimension to
    the next. ``follows`` None takes ``count`` elements whole.
    """

    dim: int
    limit: int
    follows: int | None = None
    scale: int = 1
    start: int = 0
    step: int = 1
    halo: int = 0
    count: int = 1
    taps: tuple[tuple[Hashable, int], ...] = ()

    def axis(self, tile: Sequence[int], stride_bits: int) -> TileAxis:
        """The axis for a domain tile."""
        if self.follows is None:
            return TileAxis(stride_bits, self.count, self.limit, self.start, self.step, {}, dict(self.taps))
        extent = tile[self.follows]
        moved = self.scale // self.step
        return TileAxis(
            stride_bits,
            (extent - 1) * moved + 1 + self.halo,
            self.limit,
            self.start,
            self.step,
            {self.follows: extent * self.scale},
            {self.follows: moved, **dict(self.taps)},
        )


@dataclass(frozen=True)
class Source:
    """An operand that a group loads: a value, or the table of constants of the op ``table``.

    Elements outside the tensor become ``fill``. What ``gather`` gathers lies on chip as its result does, and
    its rules are those of the result; :func:`gather_rules` says how DRAM is walked.
    """

    value: SSAValue
    rules: tuple[AxisRule, ...]
    fill: float = 0.0
    table: Operation | None = None
    gather: nn.GatherOp | None = None

    def __hash__(self) -> int:
        # Plans look sources up often, and these two tell nearly all of them apart.
        return hash((self.value, self.table))

    def tile(self, tile: Sequence[int], plane: Plane, bits: int) -> Tile:
        """The operand's part for a domain tile; a scalar is a box of one element."""
        strides = (0,) * len(tile) if self.gather is not None else plane.strides_bits
        axes = tuple(rule.axis(tile, strides[rule.dim]) for rule in self.rules)
        return Tile(axes or (TileAxis(0, 1, 1),), bits)


def broadcast_rules(value: SSAValue, shape: Sequence[int], order: Sequence[int]) -> tuple[AxisRule, ...]:
    """An operand that broadcasts to ``shape`` as NumPy does, its dimensions in the order of the domain."""
    extents = shape_of(value)
    missing = len(shape) - len(extents)
    return tuple(
        AxisRule(dim - missing, extents[dim - missing], dim)
        for dim in order
        if dim >= missing and extents[dim - missing] > 1
    )


def channel_rules(shape: Sequence[int], channel: int) -> tuple[AxisRule, ...]:
    """A vector along one dimension of the domain."""
    return (AxisRule(0, shape[channel], channel),)


def trailing_rules(value: SSAValue, shape: Sequence[int]) -> tuple[AxisRule, ...]:
    """An operand aligned with the last dimensions of the domain."""
    return broadcast_rules(value, shape, tuple(range(len(shape))))


def reduced_rules(op: nn.ReduceOp) -> tuple[tuple[AxisRule, ...], tuple[int, ...]]:
    """The rules of a reduction's operand, and the extents of the reduced dimensions in row-major order."""
    shape = shape_of(op.x)
    axes, keepdims = literal(op.axes), bool(literal(op.keepdims))
    assert isinstance(axes, tuple)
    reduced = sorted(int(axis) % len(shape) for axis in axes)
    rules, kept = [], 0
    for dim, extent in enumerate(shape):
        if dim in reduced:
            tap = Tap(reduced.index(dim))
            rules.append(AxisRule(dim, extent, count=extent, taps=((tap, 1),)))
        else:
            rules.append(AxisRule(dim, extent, dim if keepdims else kept))
            kept += 1
    return tuple(rules), tuple(shape[dim] for dim in reduced)


def window_rules(op: nn.PoolOp) -> tuple[tuple[AxisRule, ...], tuple[int, ...]]:
    """The rules of a pooling's operand, channels innermost, and the extents of the window."""
    shape = shape_of(op.x)
    kernel, stride, pads, dilation = (literal(one) for one in (op.kernel, op.stride, op.pads, op.dilation))
    assert isinstance(kernel, tuple)
    assert isinstance(stride, tuple)
    assert isinstance(pads, tuple)
    assert isinstance(dilation, tuple)
    spatial = [
        AxisRule(
            2 + i,
            shape[2 + i],
            2 + i,
            scale=int(stride[i]),
            start=-int(pads[i]),
            halo=(int(kernel[i]) - 1) * int(dilation[i]),
            taps=((Tap(i), int(dilation[i])),),
        )
        for i in range(len(kernel))
    ]
    rules = (AxisRule(0, shape[0], 0), *spatial, AxisRule(1, shape[1], 1))
    return rules, tuple(int(extent) for extent in kernel)


def window_fill(op: nn.PoolOp) -> float:
    """What padding holds: nothing is below it in a maximum, and +0 changes no sum that started from +0."""
    return -inf if isinstance(op, nn.MaxPoolOp) else 0.0


def slice_rules(op: nn.SliceOp, order: Sequence[int]) -> tuple[AxisRule, ...]:
    """The rules of a slice's operand; coordinates past the last one taken are outside."""
    shape = shape_of(op.x)
    starts, sizes, steps = literal(op.starts), literal(op.sizes), literal(op.steps)
    assert isinstance(starts, tuple)
    assert isinstance(sizes, tuple)
    assert isinstance(steps, tuple)
    rules = []
    for dim in order:
        start, size, step = int(starts[dim]), int(sizes[dim]), int(steps[dim])
        limit = shape[dim] if step < 0 else start + (size - 1) * step + 1
        rules.append(AxisRule(dim, limit, dim, step, start, step))
    return tuple(rules)


def transpose_rules(op: nn.TransposeOp, order: Sequence[int]) -> tuple[AxisRule, ...]:
    """The rules of a transposition's operand."""
    shape = shape_of(op.x)
    permutation = literal(op.permutation)
    assert isinstance(permutation, tuple)
    return tuple(AxisRule(int(permutation[dim]), shape[int(permutation[dim])], dim) for dim in order)


def pad_rules(op: nn.PadOp, order: Sequence[int]) -> tuple[AxisRule, ...]:
    """The rules of an operand padded with a constant: coordinates that it does not have are outside."""
    shape = shape_of(op.x)
    pads = literal(op.pads)
    assert isinstance(pads, tuple)
    rank = len(shape)
    return tuple(
        AxisRule(dim, shape[dim] + min(0, int(pads[rank + dim])), dim, start=-int(pads[dim])) for dim in order
    )


def gather_rules(op: nn.GatherOp, order: Sequence[int]) -> tuple[tuple[AxisRule, ...], tuple[AxisRule, ...]]:
    """The rules of a gather's operand, except along the gathered axis, and those of its indices."""
    shape, indices = shape_of(op.x), shape_of(op.indices)
    axis, rank = int(op.axis.value.data) % len(shape), len(indices)
    operand, index = [], []
    for dim in order:
        if dim < axis:
            operand.append(AxisRule(dim, shape[dim], dim))
        elif dim >= axis + rank:
            operand.append(AxisRule(dim - rank + 1, shape[dim - rank + 1], dim))
        else:
            index.append(AxisRule(dim - axis, indices[dim - axis], dim))
    return tuple(operand), tuple(index)
