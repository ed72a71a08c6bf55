"""The layout of each op's result, from the op and the layout of what it reads."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.ir.placement import Placement, Plane
from flexc.passes.scheduling.layout import (
    block_placement,
    block_role,
    channels_last_order,
    fp10_placement,
    is_channels_last,
    is_natural,
    natural_order,
    pack,
    plain_placement,
    shape_of,
    stored_as_fp10,
)

IMAGE_OPS = (
    nn.ConvOp,
    nn.ConvLocalGradOp,
    nn.BatchNormOp,
    nn.MaxPoolOp,
    nn.MaxPoolGradOp,
    nn.AveragePoolOp,
    nn.AveragePoolGradOp,
    bfp.ConvOp,
    bfp.ConvLocalGradOp,
    lightnorm.BackwardOp,
    lightnorm.ForwardOp,
    lightnorm.InferOp,
    lightnorm.NormalizeOp,
)
"""Ops whose result lies with the channels innermost whatever their operands do."""
NATURAL_OPS = (
    nn.MatMulOp,
    bfp.MatMulOp,
    nn.ConvWeightGradOp,
    bfp.ConvWeightGradOp,
    nn.ReshapeOp,
    nn.TransposeOp,
    nn.GatherOp,
    nn.GatherGradOp,
    nn.ConstantOp,
)
"""Ops whose result lies in row-major order whatever their operands do."""
LIGHTNORM_TRAINING = (lightnorm.ForwardOp, lightnorm.NormalizeOp, lightnorm.BackwardOp)
"""Readers that take images with the channels innermost alone."""


def is_alias(op: Operation, placements: Mapping[SSAValue, Placement]) -> bool:
    """Whether ``op`` moves nothing: a reshape of a value in row-major order."""
    return isinstance(op, nn.ReshapeOp) and is_natural(placements[op.x], shape_of(op.x))


def result_placement(result: SSAValue, placements: Mapping[SSAValue, Placement]) -> Placement:
    """Where the result of an op would lie in DRAM (an alias: where the op's operand does)."""
    op = result.owner
    assert isinstance(op, Operation)
    if isinstance(result.type, bfp.BlockTensorType):
        return block_placement(result.type, block_role(result))
    assert isinstance(result.type, TensorType)
    if stored_as_fp10(result):
        return fp10_placement(shape_of(result))
    if isinstance(op, nn.ReshapeOp) and is_alias(op, placements):
        return _alias(op, placements[op.x])
    rank = len(shape_of(result))
    return plain_placement(
        result.type,
        channels_last_order(rank) if _is_image(op, result, placements) else natural_order(rank),
    )


def _alias(op: nn.ReshapeOp, placement: Placement) -> Placement:
    (plane,) = placement.planes
    shape = shape_of(op.out)
    strides = pack(shape, natural_order(len(shape)), plane.format).strides_bits
    return Placement((Plane(plane.format, plane.size_bytes, strides, plane.address_bytes),))


def _is_image(op: Operation, result: SSAValue, placements: Mapping[SSAValue, Placement]) -> bool:
    rank = len(shape_of(result))
    if rank < 3:
        return False
    if isinstance(op, IMAGE_OPS):
        return True
    if isinstance(op, NATURAL_OPS):
        return False
    if isinstance(op, bfp.DequantizeOp):
        # A result that is stored quantized lies as it would have without.
        source = op.x.owner
        return isinstance(source, bfp.QuantizeOp) and is_channels_last(
            placements[source.x], shape_of(source.x)
        )
    if any(isinstance(use.operation, LIGHTNORM_TRAINING) for use in result.uses):
        return True
    return any(
        isinstance(operand.type, TensorType)
        and len(shape_of(operand)) == rank
        and is_channels_last(placements[operand], shape_of(operand))
        for operand in op.operands
    )
