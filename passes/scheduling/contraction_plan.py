"""The tile program of a contraction group: operand tiles, accumulators, parameters, staged results.

The group is a contraction, the ops that run in place on its accumulators (bias, normalization, activations),
and the quantizations of the result that whole groups of the chip's tile allow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.ir.mapping import Mapping as LoopMapping
from flexc.ir.placement import Placement, Plane
from flexc.numerics.block_float import groups_shape
from flexc.passes.scheduling.buffer_slots import BufferName, BufferPlan, BufferSlot
from flexc.passes.scheduling.contraction_tiles import ContractionOp, ContractionTiles
from flexc.passes.scheduling.conv_tiles import conv_tiles
from flexc.passes.scheduling.gradient_tiles import PhasePair, local_grad_tiles, weight_grad_tiles
from flexc.passes.scheduling.layout import NORM_TABLE_ROWS, grouped_dim, shape_of
from flexc.passes.scheduling.matmul_tiles import matmul_tiles
from flexc.passes.scheduling.riding_statistics import RidingStatistics, plan_statistics
from flexc.passes.scheduling.stages import Stage, make_stage
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_functions import ACCUMULATOR_FUNCTIONS
from flexc.target.machine import Target

PlacementOf: TypeAlias = Callable[[SSAValue], Placement]
CHANNEL_GROUP = 4
"""Channels that LightNorm takes together; also how ten-bit runs are aligned."""


@dataclass(frozen=True)
class Parameter:
    """Per-channel values: ``rows`` of them from an operand or (``value`` None) from the table of ``op``."""

    op: Operation
    value: SSAValue | None
    tile: Tile
    slot: BufferSlot


@dataclass(frozen=True)
class ContractionPlan:
    """Tiles and slots of one contraction group; ``chain`` are the ops in place, in order.

    Where a core's part of a ten-bit result would start inside a byte, the norm's result is ``gathered`` from
    all cores instead (a tile whose ``position`` keys are indices of result axes).
    """

    op: ContractionOp
    a_value: SSAValue
    b_value: SSAValue
    mapping: LoopMapping
    chain: tuple[Operation, ...]
    tiles: ContractionTiles
    a_slot: BufferSlot
    a_exponent_slot: BufferSlot | None
    b_slot: BufferSlot
    b_exponent_slot: BufferSlot | None
    accumulator_slot: BufferSlot
    gathered: Tile | None
    gathered_slot: BufferSlot | None
    parameters: tuple[Parameter, ...]
    statistics: RidingStatistics | None
    stages: tuple[Stage, ...]
    buffers: BufferPlan

    @property
    def result(self) -> SSAValue:
        """The value that the accumulators hold in the end."""
        return (self.chain[-1] if self.chain else self.op).results[0]


def tiles_of(
    op: ContractionOp, mapping: LoopMapping, placement_of: PlacementOf, phase: PhasePair | None = None
) -> ContractionTiles:
    """The tiles of a contraction's operands and accumulators; of a local gradient, those of a phase."""
    if isinstance(op, bfp.ConvOp | nn.ConvOp):
        return conv_tiles(op, mapping, placement_of(op.x), placement_of(op.w))
    if isinstance(op, bfp.ConvLocalGradOp | nn.ConvLocalGradOp):
        assert phase is not None
        return local_grad_tiles(op, phase, mapping, placement_of(op.g), placement_of(op.w))
    if isinstance(op, bfp.ConvWeightGradOp | nn.ConvWeightGradOp):
        return weight_grad_tiles(op, mapping, placement_of(op.g), placement_of(op.x))
    return matmul_tiles(op, mapping, placement_of(op.a), placement_of(op.b))


def runs_in_place(op: Operation, tiles: ContractionTiles, result_rank: int) -> bool:
    """Whether ``op`` can work on the accumulators of a contraction tiled so, its x being there."""
    if type(op) in ACCUMULATOR_FUNCTIONS:
        return True
    if not isinstance(op, lightnorm.InferOp | nn.BatchNormOp):
        return False
    if isinstance(op, nn.BatchNormOp):
        return _has_channels(tiles, result_rank)
    return holds_channel_groups(tiles, result_rank)


def holds_channel_groups(tiles: ContractionTiles, result_rank: int) -> bool:
    """Whether a tile of all cores has channels as its innermost axis, and whole groups of LightNorm's."""
    if tiles.channel_axis is None or not _has_channels(tiles, result_rank):
        return False
    chip = chip_axis(tiles, tiles.channel_axis, 0)
    return chip.count >= chip.limit or chip.count % CHANNEL_GROUP == 0


def _has_channels(tiles: ContractionTiles, result_rank: int) -> bool:
    if tiles.channel_axis is None or tiles.channel_axis != len(tiles.result) - 1:
        return False
    return tiles.result[tiles.channel_axis].dims == (1,) and result_rank >= 2


def _splits_runs(tiles: ContractionTiles, placement: Placement) -> bool:
    """Whether a core's part of a ten-bit result starts inside a byte."""
    if placement.planes[0].format != "fp10" or tiles.channel_axis is None:
        return False
    core = tiles.result[tiles.channel_axis].count
    return chip_axis(tiles, tiles.channel_axis, 0).count > core and core % CHANNEL_GROUP != 0


def chip_axis(tiles: ContractionTiles, axis: int, stride_bits: int) -> TileAxis:
    """A result axis of the tiles of all cores together; its position key is its index."""
    found = tiles.result[axis]
    core = TileAxis(stride_bits * found.multiplier, found.count, found.extent, advance=found.advance)
    return replace(core.across(tiles.extents.cores), position={axis: 1})


def plan_contraction(
    op: ContractionOp,
    mapping: LoopMapping,
    chain: Sequence[Operation],
    quantizes: Sequence[bfp.QuantizeOp],
    placement_of: PlacementOf,
    target: Target,
    *,
    statistics: lightnorm.StatisticsOp | None = None,
    stored: bool = True,
    phase: PhasePair | None = None,
) -> ContractionPlan | None:
    """The plan of a group, its result ``stored`` in DRAM or not; of a local gradient, that of a phase.

    None where the tiles do not hold whole groups of a quantization.

    Whether the buffers have room is for the caller to ask (``buffers.overflow``).
    """
    tiles = tiles_of(op, mapping, placement_of, phase)
    a_value, b_value = op.operands[:2]
    if isinstance(op, bfp.ConvWeightGradOp | nn.ConvWeightGradOp):
        a_value, b_value = op.x, op.g
    buffers = BufferPlan(target)
    a_slot = _ring(buffers, "a", "operand", tiles.a)
    a_exponent = b_exponent = None
    if tiles.a_exponent is not None:
        a_exponent = _ring(buffers, "a exponents", "operand", tiles.a_exponent)
    b_slot = _ring(buffers, "b", "held", tiles.b)
    if tiles.b_exponent is not None:
        b_exponent = _ring(buffers, "b exponents", "held", tiles.b_exponent)
    accumulator = _ring(buffers, "accumulators", "psum", tiles.accumulator)
    parameters = tuple(_parameters(op, chain, tiles, buffers))
    result = (chain[-1] if chain else op).results[0]
    gathered = gathered_slot = None
    if stored and _splits_runs(tiles, placement_of(result)):
        gathered = Tile(tuple(chip_axis(tiles, axis, 0) for axis in range(len(tiles.result))), 32)
        gathered_slot = buffers.take_striped(
            "gathered result", gathered.size_bytes, depths=(2, 1), buffers=("psum", "held", "operand")
        )
    riding = None
    if statistics is not None:
        assert tiles.channel_axis is not None
        riding = plan_statistics(statistics, tiles, chip_axis(tiles, tiles.channel_axis, 32), buffers)
    stages = []
    for quantize in quantizes:
        stage = _stage(quantize, tiles, placement_of(quantize.out), buffers)
        if stage is None:
            return None
        stages.append(stage)
    return ContractionPlan(
        op=op,
        a_value=a_value,
        b_value=b_value,
        mapping=mapping,
        chain=tuple(chain),
        tiles=tiles,
        a_slot=a_slot,
        a_exponent_slot=a_exponent,
        b_slot=b_slot,
        b_exponent_slot=b_exponent,
        accumulator_slot=accumulator,
        gathered=gathered,
        gathered_slot=gathered_slot,
        parameters=parameters,
        statistics=riding,
        stages=tuple(stages),
        buffers=buffers,
    )


def _ring(buffers: BufferPlan, label: str, buffer: BufferName, tile: Tile) -> BufferSlot:
    return buffers.take(label, buffer, tile.size_bytes, depth=2, per_core=True)


def _parameters(
    op: ContractionOp, chain: Sequence[Operation], tiles: ContractionTiles, buffers: BufferPlan
) -> Iterator[Parameter]:
    bias = bias_of(op)
    if bias is not None:
        yield _parameter("bias", op, bias, 1, tiles, buffers)
    for link in chain:
        if isinstance(link, lightnorm.InferOp):
            yield _parameter("norm constants", link, None, NORM_TABLE_ROWS, tiles, buffers)
        elif isinstance(link, nn.BatchNormOp):
            for label, value in (
                ("gamma", link.gamma),
                ("beta", link.beta),
                ("mean", link.mean),
                ("variance", link.var),
            ):
                yield _parameter(label, link, value, 1, tiles, buffers)


def bias_of(op: ContractionOp) -> SSAValue | None:
    """The bias that is added to the sums."""
    return op.bias if isinstance(op, bfp.ConvOp | bfp.MatMulOp | nn.ConvOp | nn.MatMulOp) else None


def _parameter(
    label: str, op: Operation, value: SSAValue | None, rows: int, tiles: ContractionTiles, buffers: BufferPlan
) -> Parameter:
    """Channels lie along the axes from the channel axis on (g and o where they stay apart)."""
    first = len(tiles.result) - 2 if tiles.channel_axis is None else tiles.channel_axis
    channels = tuple(chip_axis(tiles, axis, 32) for axis in range(first, len(tiles.result)))
    total = max(axis.limit * axis.stride_bits for axis in channels)
    row = () if rows == 1 else (TileAxis(total, rows, rows, position={"row": 1}),)
    tile = Tile((*row, *channels), 32)
    moved = any(tile.moves_with(dim) for dim, _ in tiles.extents.loops())
    slot = buffers.take_striped(
        label, tile.size_bytes, depths=(2, 1) if moved else (1,), buffers=("held", "psum", "operand")
    )
    return Parameter(op, value, tile, slot)


def _stage(
    op: bfp.QuantizeOp, tiles: ContractionTiles, placement: Placement, buffers: BufferPlan
) -> Stage | None:
    shape = shape_of(op.x)
    assert isinstance(op.out.type, bfp.BlockTensorType)
    tile = op.out.type.get_tile()
    if tiles.channel_axis is None:
        return None
    dim = grouped_dim(op.out)
    axis = _axis_of(tiles, dim, shape)
    if axis is None:
        return None
    group = tile[dim]
    byte = 2 if placement.planes[0].format == "m4" else 1
    chip = chip_axis(tiles, axis, 0)
    if chip.count < chip.limit and (chip.count % group or chip.count % byte):
        return None
    mantissa = _walked(tiles, placement.planes[0], shape)
    exponent = _walked(tiles, placement.planes[1], groups_shape(shape, tile))
    if mantissa is None or exponent is None:
        return None
    bits = placement.planes[0].bits
    return make_stage(op, axis, group, mantissa, exponent, bits, buffers, depths=(2, 1))


def _axis_of(tiles: ContractionTiles, dim: int, shape: tuple[int, ...]) -> int | None:
    """The result axis that is logical dimension ``dim`` and nothing else."""
    for index, axis in enumerate(tiles.result):
        if dim in axis.dims and axis.extent == shape[dim]:
            return index
    return None


def _walked(tiles: ContractionTiles, plane: Plane, shape: tuple[int, ...]) -> dict[Hashable, TileAxis] | None:
    """The result axes of all cores together in a plane; None where it does not lie evenly along one."""
    axes: dict[Hashable, TileAxis] = {}
    for index, found in enumerate(tiles.result):
        walked = found.over(plane, shape)
        if walked is None:
            return None
        axes[index] = chip_axis(tiles, index, walked.stride_bits // found.multiplier)
    return axes
