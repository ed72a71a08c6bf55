"""How values are laid out in DRAM: storage formats, order of dimensions, padding.

Plain tensors are packed without padding, image tensors with the channels innermost. The grouped axis of a
block-floating-point tensor is innermost, its vectors padded to bytes and its rows to 64 bytes, exponents in
the same order beside them. LightNorm's ten-bit results are codes of ten bits, each channel vector padded to
bytes. docs/schedule.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, TypeAlias, get_args

import numpy as np
from xdsl.dialects.builtin import TensorType, f32, i1, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import literal
from flexc.ir.placement import PLANE_BITS, Placement, Plane, PlaneFormat
from flexc.numerics.block_float import groups_shape
from flexc.numerics.minifloat import minifloat

ROW_ALIGNMENT_BYTES = 64
NORM_TABLE_ROWS = 4
FP10_RUN = 4
"""Elements of ten bits that end on a byte: runs start on a multiple of them."""
PLAIN_FORMATS: dict[Attribute, PlaneFormat] = {f32: "f32", i64: "i64", i32: "i32", i1: "i1"}
MANTISSA_PLANES: dict[int, PlaneFormat] = {4: "m4", 8: "m8", 16: "m16"}

BlockRole: TypeAlias = Literal["image", "kernel", "window_kernel", "turned_kernel", "batch", "left", "right"]
"""What reads a block tensor: a convolution (its x, its w, a depthwise w) or its local gradient (image; a
depthwise w, another w), a weight gradient (both operands), or a matrix product (a, b)."""
BLOCK_ROLES: tuple[BlockRole, ...] = get_args(BlockRole)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The logical shape of a plain or block tensor."""
    assert isinstance(value.type, TensorType | bfp.BlockTensorType)
    return tuple(value.type.get_shape())


def natural_order(rank: int) -> tuple[int, ...]:
    """Dimensions from the outermost on, the last fastest."""
    return tuple(range(rank))


def channels_last_order(rank: int) -> tuple[int, ...]:
    """[N, spatial..., C]; the natural order below rank 3."""
    return (0, *range(2, rank), 1) if rank > 2 else natural_order(rank)


def pack(
    shape: Sequence[int],
    order: Sequence[int],
    plane_format: PlaneFormat,
    *,
    vector_dims: int = 0,
    row_dims: int = 0,
) -> Plane:
    """A plane with the dimensions of ``order``, outermost first.

    The innermost ``vector_dims`` together are padded to bytes, the innermost ``row_dims`` to 64 bytes.
    """
    strides = [0] * len(shape)
    pitch = PLANE_BITS[plane_format]
    for depth, dim in enumerate(reversed(order), start=1):
        strides[dim] = pitch
        pitch *= shape[dim]
        if depth == vector_dims:
            pitch = _round_up(pitch, 8)
        if depth == row_dims:
            pitch = _round_up(pitch, 8 * ROW_ALIGNMENT_BYTES)
    return Plane(plane_format, -(-pitch // 8), tuple(strides))


def plain_placement(value_type: TensorType[Attribute], order: Sequence[int]) -> Placement:
    """An unpadded plane of a plain tensor's element type."""
    plane_format = PLAIN_FORMATS[value_type.element_type]
    return Placement((pack(tuple(value_type.get_shape()), order, plane_format),))


def fp10_placement(shape: Sequence[int]) -> Placement:
    """Ten-bit codes, channels innermost, each position's channels padded to bytes."""
    return Placement((pack(shape, channels_last_order(len(shape)), "fp10", vector_dims=1),))


def block_placement(block: bfp.BlockTensorType, role: BlockRole) -> Placement:
    """Mantissas and exponents in the order that their reader wants."""
    shape = block.get_shape()
    order, row_dims = _block_order(len(shape), role)
    mantissa = MANTISSA_PLANES[block.mantissa_bits.data]
    groups = groups_shape(shape, block.get_tile())
    return Placement(
        (pack(shape, order, mantissa, vector_dims=1, row_dims=row_dims), pack(groups, order, "e8"))
    )


def _block_order(rank: int, role: BlockRole) -> tuple[tuple[int, ...], int]:
    match role:
        case "image":
            return channels_last_order(rank), 2
        case "kernel":
            return channels_last_order(rank), rank - 1
        case "window_kernel":
            return (*range(2, rank), 1, 0), 1
        case "turned_kernel":
            return (1, *range(2, rank), 0), rank - 1
        case "batch":
            return (*range(2, rank), 1, 0), 2
        case "left":
            return natural_order(rank), 1
        case "right":
            return (*range(rank - 2), rank - 1, rank - 2), 1


def table_placement(op: Operation) -> Placement:
    """The constants that an op needs beyond its operands, fp32 without padding.

    lightnorm.backward: positions, range constant and chunks. lightnorm.infer: rows mean, scale, gamma_q and
    beta of all channels. nn.average_pool and its gradient: the divisor of each window position.
    bfp.dequantize: the number 1 in four bits, mantissa and exponent.
    """
    if isinstance(op, bfp.DequantizeOp):
        return Placement((Plane("m4", 1, (4,)), Plane("e8", 1, (8,))))
    if isinstance(op, lightnorm.BackwardOp):
        return Placement((pack((3,), (0,), "f32"),))
    shape = shape_of(op.g) if isinstance(op, nn.AveragePoolGradOp) else shape_of(op.results[0])
    table = (NORM_TABLE_ROWS, shape[1]) if isinstance(op, lightnorm.InferOp) else shape[2:]
    return Placement((pack(table, natural_order(len(table)), "f32"),))


def has_constant_table(op: Operation) -> bool:
    """Whether the table of ``op`` is known at compile time: not that of a LightNorm of given statistics."""
    return not isinstance(op, lightnorm.InferOp) or all(nn.is_constant(value) for value in op.operands[1:])


TABLE_OPS = (
    lightnorm.InferOp,
    lightnorm.BackwardOp,
    nn.AveragePoolOp,
    nn.AveragePoolGradOp,
    bfp.DequantizeOp,
)
"""Ops with a table of constants."""


def block_role(value: SSAValue) -> BlockRole:
    """The role of a block tensor, from the ops that read it.

    Ops want one tensor in two roles only where its groups have one element; they take either order then.
    """
    assert isinstance(value.type, bfp.BlockTensorType)
    tile = value.type.get_tile()
    roles = {_role_for(use.operation, use.index, tile) for use in value.uses}
    for role in BLOCK_ROLES:
        if role in roles:
            return role
    if len(tile) > 2 and tile[1] > 1:
        return "image"
    if len(tile) > 2 and tile[0] > 1:
        return "batch"
    return "right" if len(tile) > 1 and tile[-2] > 1 else "left"


def _role_for(op: Operation, index: int, tile: tuple[int, ...]) -> BlockRole | None:
    match op:
        case bfp.ConvOp() | bfp.ConvLocalGradOp() if index == 0:
            return "image"
        case bfp.ConvOp():
            return "window_kernel" if prod(tile[2:]) > 1 else "kernel"
        case bfp.ConvLocalGradOp():
            return "window_kernel" if prod(tile[2:]) > 1 else "turned_kernel"
        case bfp.ConvWeightGradOp():
            return "batch"
        case bfp.MatMulOp():
            return "left" if index == 0 else "right"
        case _:
            return None


def grouped_dim(value: SSAValue) -> int:
    """The dimension of a block tensor that lies innermost and that groups run along."""
    assert isinstance(value.type, bfp.BlockTensorType)
    return _block_order(len(value.type.get_shape()), block_role(value))[0][-1]


def is_natural(placement: Placement, shape: Sequence[int]) -> bool:
    """Whether the value lies in row-major order without padding: reshaping it moves nothing."""
    if len(placement.planes) != 1 or placement.planes[0].format == "fp10":
        return False
    plane = placement.planes[0]
    natural = pack(shape, natural_order(len(shape)), plane.format)
    return all(
        have == want or extent == 1
        for have, want, extent in zip(plane.strides_bits, natural.strides_bits, shape, strict=True)
    )


def storage_order(plane: Plane, shape: Sequence[int]) -> tuple[int, ...]:
    """The dimensions from the largest stride to the smallest; ties and extents of 1 in natural order."""
    moving = [dim for dim, extent in enumerate(shape) if extent > 1]
    by_stride = iter(sorted(moving, key=lambda dim: -plane.strides_bits[dim]))
    return tuple(next(by_stride) if shape[dim] > 1 else dim for dim in range(len(shape)))


def is_channels_last(placement: Placement, shape: Sequence[int]) -> bool:
    """Whether an image tensor lies with its channels innermost."""
    rank = len(shape)
    if rank < 3:
        return False
    plane = placement.planes[0]
    positions = [plane.strides_bits[dim] for dim in range(2, rank) if shape[dim] > 1]
    return bool(positions) and shape[1] > 1 and plane.strides_bits[1] < min(positions)


def stored_as_fp10(value: SSAValue) -> bool:
    """Whether ``value`` is stored in ten bits: all of its elements are FP10A's by construction (numerics,
    section 5), and no reader takes channels from the middle of a run."""
    # Most values are made by other ops: their readers need no look.
    return _has_ten_bits(value) and not any(_splits_runs(use.operation) for use in value.uses)


def _has_ten_bits(value: SSAValue) -> bool:
    op = value.owner
    if isinstance(op, lightnorm.ForwardOp | lightnorm.NormalizeOp):
        return value in (op.y, op.xhat)
    if not isinstance(op, lightnorm.InferOp):
        return False
    match op.activation.data:
        case "none" | "relu":
            return True
        case "clip":
            bounds = np.asarray(literal(op.activation_parameters), np.float32)
            return bool((minifloat(bounds, exponent_bits=5, fraction_bits=4) == bounds).all())
        case _:
            return False


def _splits_runs(op: Operation) -> bool:
    """Whether ``op`` may read channels from inside a run on, as contractions in fp32 do."""
    if isinstance(op, nn.GatherOp | nn.ConvOp | nn.MatMulOp | nn.ConvLocalGradOp | nn.ConvWeightGradOp):
        return True
    if isinstance(op, nn.SliceOp):
        starts, steps = literal(op.starts), literal(op.steps)
        assert isinstance(starts, tuple)
        assert isinstance(steps, tuple)
        return bool(int(starts[1]) % FP10_RUN or steps[1] != 1)
    if isinstance(op, nn.PadOp):
        pads = literal(op.pads)
        assert isinstance(pads, tuple)
        return bool(int(pads[1]) % FP10_RUN) or op.mode.data != "constant"
    return False


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
