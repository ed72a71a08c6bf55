"""What the machine cannot hold or address: ops that no tile program computes, plans that do not fit."""

from __future__ import annotations

from typing import TypeAlias

from xdsl.ir import Operation

from flexc.diagnostics import CompileError, Place, error
from flexc.ir import bfp, nn
from flexc.ir.attributes import place_of
from flexc.numerics.block_float import Sign
from flexc.passes.scheduling.contraction_plan import ContractionPlan
from flexc.passes.scheduling.dequantize_plan import DequantizePlan
from flexc.passes.scheduling.filter_quantize_plan import FilterQuantizePlan, quantizes_filters
from flexc.passes.scheduling.gather_grad_plan import GatherGradPlan
from flexc.passes.scheduling.lane_sum_plan import LaneSumPlan
from flexc.passes.scheduling.layout import MANTISSA_PLANES, grouped_dim, shape_of
from flexc.passes.scheduling.lightnorm_plan import LightNormPlan
from flexc.passes.scheduling.local_gradient_plan import LocalGradientPlan
from flexc.passes.scheduling.pool_grad_plan import PoolGradPlan
from flexc.passes.scheduling.vector_plan import VectorPlan

BOX_DIMS = 8
LOOP_LEVELS = 6
CORE_AXES = 3
"""Dimensions of a box, loops inside one another and core axes that an instruction has."""

STATE_DIMS = 2
"""Dimensions of a record of statistics behind those of what it reads."""

FP32_CONVOLUTIONS = (nn.ConvOp, nn.ConvLocalGradOp, nn.ConvWeightGradOp)

Plan: TypeAlias = (
    ContractionPlan
    | LocalGradientPlan
    | VectorPlan
    | DequantizePlan
    | FilterQuantizePlan
    | LightNormPlan
    | PoolGradPlan
    | GatherGradPlan
    | LaneSumPlan
)


def check_supported(op: Operation, file: str) -> None:
    """Raises CompileError for an op that the machine does not compute.

    FX416: a convolution over three spatial dimensions. FX425: groups that the converter does not make. FX427:
    a tensor without elements. FX428: conv groups that start inside a byte.
    """
    place = place_of(op, file)
    if isinstance(op, bfp.QuantizeOp):
        _check_quantize(op, place)
    if isinstance(op, FP32_CONVOLUTIONS) and len(shape_of(op.operands[0])) > 4:
        raise error(
            "FX416",
            f"a convolution of {len(shape_of(op.operands[0])) - 2} spatial dimensions has no mapping",
            place=place,
            hint="one or two spatial dimensions map; it runs on the executor only",
        )
    if isinstance(op, bfp.ConvOp):
        _check_conv_groups(op, place)
    if any(0 in shape_of(result) for result in op.results):
        raise error(
            "FX427",
            "a tensor without elements has no place on the machine",
            place=place,
            detail=f"shape {list(shape_of(op.results[0]))}",
            hint="such a model runs on the executor only",
        )


def _check_quantize(op: bfp.QuantizeOp, place: Place) -> None:
    """The converter makes groups along one dimension, of mantissas that include the sign."""
    block = op.out.type
    assert isinstance(block, bfp.BlockTensorType)
    tile = block.get_tile()
    innermost = grouped_dim(op.out)
    along_others = [dim for dim, extent in enumerate(tile) if extent > 1 and dim != innermost]
    if quantizes_filters(op):
        along_others = []
    bits = block.mantissa_bits.data
    if bits in MANTISSA_PLANES and block.sign.data == Sign.INCLUDED and not along_others:
        return
    sign = "" if block.sign.data == Sign.INCLUDED else " and a sign apart"
    raise error(
        "FX425",
        f"the converter makes no groups of {list(tile)} with mantissas of {bits} bits{sign}",
        place=place,
        detail=f"tensor of shape {list(block.get_shape())}",
        hint="groups along the contracted dimension, of 4, 8 or 16 bits with the sign, run on the machine",
    )


def _check_conv_groups(op: bfp.ConvOp, place: Place) -> None:
    """A group's mantissas of four bits have to start on a byte in every pixel."""
    x, depth = op.x.type, shape_of(op.w)[1]
    assert isinstance(x, bfp.BlockTensorType)
    if x.mantissa_bits.data == 4 and op.group.value.data > 1 and depth > 1 and depth % 2:
        raise error(
            "FX428",
            f"conv groups of {depth} channels with mantissas of 4 bits start inside a byte",
            place=place,
            detail=f"x {list(x.get_shape())} in {op.group.value.data} groups",
            hint="wider mantissas for this layer's x, or an even number of channels in a group",
        )


def obstacle(plan: Plan, place: Place) -> CompileError | None:
    """What keeps a plan from running: slots that overflow a buffer (FX421), too many loops (FX423)."""
    overflow = plan.buffers.overflow
    if overflow is not None:
        return overflow.error(
            place,
            "a target with larger buffers, a smaller batch or image, or narrower mantissas would help",
        )
    if isinstance(plan, LightNormPlan):
        return None
    dims, loops, cores = 0, 0, 0
    if isinstance(plan, LocalGradientPlan):
        found = (obstacle(phase, place) for phase in plan.phases)
        return next((failure for failure in found if failure is not None), None)
    if isinstance(plan, ContractionPlan):
        loops, cores = len(plan.tiles.extents.loops()), len(plan.tiles.extents.cores)
        dims = len(plan.tiles.result) + (0 if plan.statistics is None else STATE_DIMS)
    elif isinstance(plan, VectorPlan):
        taps = max((len(step.taps) for step in plan.steps), default=0)
        dims, loops = len(plan.domain.shape) + taps, len(plan.loops)
    elif isinstance(plan, LaneSumPlan):
        # Positions are lanes and what each lane takes up.
        dims, loops = len(plan.domain.shape) + 1, len(plan.loops)
    else:
        dims, loops = len(plan.domain.shape), len(plan.loops)
    if dims <= BOX_DIMS and loops <= LOOP_LEVELS and cores <= CORE_AXES:
        return None
    return error(
        "FX423",
        f"its tiles have {dims} dimensions in {loops} loops over {cores} core axes",
        place=place,
        hint=f"an instruction has {BOX_DIMS} dimensions, {LOOP_LEVELS} loops around it and {CORE_AXES} core "
        "axes; merging dimensions of the model would help",
    )
