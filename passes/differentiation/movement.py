"""Gradients of ops that move elements."""

from __future__ import annotations

from itertools import accumulate
from typing import cast as typed_as

import numpy as np
from xdsl.ir import SSAValue

from flexc import numerics
from flexc.ir import nn
from flexc.ir.shapes import Shape, TensorSpec
from flexc.numerics.movement import PadMode
from flexc.passes.differentiation.builder import Builder, shape_of
from flexc.passes.differentiation.reverse import Gradients


def cast(op: nn.CastOp, g: SSAValue, to: Gradients) -> None:
    """g, from fp32 to fp32."""
    to.add(op.x, g)


def reshape(op: nn.ReshapeOp, g: SSAValue, to: Gradients) -> None:
    """g in the shape of x."""
    to.add(op.x, to.build.reshape(g, shape_of(op.x)))


def expand(op: nn.ExpandOp, g: SSAValue, to: Gradients) -> None:
    """g summed over what was repeated."""
    to.add(op.x, g)


def transpose(op: nn.TransposeOp, g: SSAValue, to: Gradients) -> None:
    """g by the inverse permutation."""
    inverse = tuple(int(axis) for axis in np.argsort(op.permutation.get_values()))
    to.add(op.x, to.build.op(nn.TransposeOp, g, permutation=inverse))


def concat(op: nn.ConcatOp, g: SSAValue, to: Gradients) -> None:
    """To each operand its part of g."""
    axis = int(op.axis.value.data) % len(shape_of(op.out))
    extents = [shape_of(one)[axis] for one in op.inputs]
    for one, start in zip(op.inputs, accumulate(extents, initial=0), strict=False):
        if to.wants(one):
            starts = [0] * len(shape_of(one))
            starts[axis] = start
            steps = (1,) * len(starts)
            part = to.build.op(nn.SliceOp, g, starts=tuple(starts), sizes=shape_of(one), steps=steps)
            to.add(one, part)


def strided_slice(op: nn.SliceOp, g: SSAValue, to: Gradients) -> None:
    """g among zeros: padded, and scattered along the axes whose step is not 1."""
    starts, sizes, steps = (one.get_values() for one in (op.starts, op.sizes, op.steps))
    shape = shape_of(op.x)
    begins, ends = [0] * len(shape), [0] * len(shape)
    for axis, (start, size, step, extent) in enumerate(zip(starts, sizes, steps, shape, strict=True)):
        if step == 1:
            begins[axis], ends[axis] = start, extent - start - size
        else:
            g = _scatter(to.build, g, start + step * np.arange(size), axis, extent)
    if any(begins + ends):
        g = to.build.op(nn.PadOp, g, pads=(*begins, *ends), mode="constant", value=0.0)
    to.add(op.x, g)


def pad(op: nn.PadOp, g: SSAValue, to: Gradients) -> None:
    """Padding with a constant: g cut by the pads; otherwise each axis is a gather, scattered again."""
    pads, mode = op.pads.get_values(), typed_as(PadMode, op.mode.data)
    if mode == "constant":
        negated = tuple(-one for one in pads)
        to.add(op.x, to.build.op(nn.PadOp, g, pads=negated, mode="constant", value=0.0))
        return
    shape = shape_of(op.x)
    for axis, extent in enumerate(shape):
        around = (pads[axis], pads[len(shape) + axis])
        if any(around):
            positions = numerics.pad(np.arange(extent), pads=around, mode=mode)
            g = _scatter(to.build, g, positions, axis, extent)
    to.add(op.x, g)


def gather(op: nn.GatherOp, g: SSAValue, to: Gradients) -> None:
    """g scattered to the indices."""
    axis = int(op.axis.value.data)
    result = TensorSpec(shape_of(op.x))
    to.add(op.x, to.build.op(nn.GatherGradOp, g, op.indices, result=result, axis=axis))


def _scatter(
    b: Builder, g: SSAValue, positions: np.ndarray[Shape, np.dtype[np.int64]], axis: int, extent: int
) -> SSAValue:
    shape = list(shape_of(g))
    shape[axis] = extent
    indices = b.constant(np.asarray(positions, np.int64), "positions")
    return b.op(nn.GatherGradOp, g, indices, result=TensorSpec(tuple(shape)), axis=axis)
