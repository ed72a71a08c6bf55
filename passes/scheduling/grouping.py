"""Groups of ops that run as one tile program on a machine: what the rules allow and its buffers hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ArrayAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import error
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import place_of
from flexc.ir.mapping import Dim, MappingAttr
from flexc.ir.mapping import Mapping as LoopMapping
from flexc.ir.placement import GroupKind, Placement
from flexc.ir.program import Graph
from flexc.passes.building import erase
from flexc.passes.scheduling.box_copies import BOX_OPS, is_box_op
from flexc.passes.scheduling.contraction_plan import (
    holds_channel_groups,
    plan_contraction,
    runs_in_place,
    tiles_of,
)
from flexc.passes.scheduling.contraction_tiles import ContractionOp
from flexc.passes.scheduling.conv_tiles import conv_extents
from flexc.passes.scheduling.dequantize_plan import plan_dequantize
from flexc.passes.scheduling.filter_quantize_plan import plan_filter_quantize, quantizes_filters
from flexc.passes.scheduling.fp32_mapping import fp32_mapping
from flexc.passes.scheduling.gather_grad_plan import plan_gather_grad
from flexc.passes.scheduling.gradient_tiles import (
    PhasePair,
    local_grad_extents,
    phases_of,
    weight_grad_extents,
)
from flexc.passes.scheduling.group_rules import (
    CONSTANTS,
    CONTRACTIONS,
    POOL_GRADIENTS,
    RIDING,
    ROW_OPS,
    STANDING_ALONE,
    OpGroup,
    OpGroups,
)
from flexc.passes.scheduling.lane_sum_plan import plan_lane_sum
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.lightnorm_plan import check_positions, plan_lightnorm
from flexc.passes.scheduling.limits import Plan, check_supported, obstacle
from flexc.passes.scheduling.local_gradient_plan import plan_local_gradient
from flexc.passes.scheduling.matmul_tiles import matmul_extents
from flexc.passes.scheduling.pool_grad_plan import plan_pool_grad
from flexc.passes.scheduling.result_layout import LIGHTNORM_TRAINING, result_placement
from flexc.passes.scheduling.split_lightnorm import insert_statistics, normalize_by
from flexc.passes.scheduling.vector_functions import ELEMENTWISE_FUNCTIONS
from flexc.passes.scheduling.vector_plan import Choices, plan_vector_group
from flexc.passes.scheduling.vector_steps import STEPS
from flexc.target.machine import Target

LANE_SUMS = (nn.ReduceMeanOp, nn.ReduceSumOp)
REDUCTIONS = (nn.ReduceMaxOp, nn.ReduceMeanOp, nn.ReduceSumOp)


@dataclass
class OpenGroup(OpGroup):
    """A group so far."""

    kind: GroupKind
    mappings: tuple[LoopMapping, ...] = ()


@dataclass
class Grouping(OpGroups[OpenGroup]):
    """The groups of a graph on a machine."""

    graph: Graph
    target: Target
    split: bool = False
    """Whether ops were taken apart."""
    _choices: Choices = field(default_factory=dict)

    def add(self, op: Operation) -> None:
        """Puts ``op`` into a group, unless it is a constant or moves nothing.

        Raises CompileError for an op that the machine does not compute, and for tiles that fit no buffer.
        """
        if not isinstance(op, ReturnOp):
            _check_has_program(op, self.graph.file)
            check_supported(op, self.graph.file)
        if isinstance(op, lightnorm.ForwardOp) and self._split(op):
            return
        super().add(op)

    def _split(self, op: lightnorm.ForwardOp) -> bool:
        """Takes the statistics off ``op`` where the contraction that makes x can carry them.

        Then they stand in its place, with what normalizes by them. A tensor that stays on chip is read once
        as it is.
        """
        for result in op.results:
            self.placements[result] = result_placement(result, self.placements)
        alone = plan_lightnorm(op, self.placement_of, self.target)
        if alone.keeps_tensor and alone.buffers.overflow is None:
            return False
        statistics = insert_statistics(op)
        for result in statistics.results:
            self.placements[result] = result_placement(result, self.placements)
        if self._group_to_join(statistics) is None:
            for result in statistics.results:
                del self.placements[result]
            erase(statistics)
            return False
        self.split = True
        for result in op.results:
            del self.placements[result]
        normalize = normalize_by(op, statistics)
        self.add(statistics)
        self.add(normalize)
        return True

    def is_stored(self, value: SSAValue) -> bool:
        """Whether something outside its group reads ``value``."""
        members = self.groups[self.group_index[value]].ops if value in self.group_index else ()
        return any(use.operation not in members for use in value.uses)

    def stored(self, ops: Sequence[Operation]) -> list[SSAValue]:
        """The results of ``ops`` that something else reads."""
        results = (result for op in ops for result in op.results)
        return [result for result in results if any(use.operation not in ops for use in result.uses)]

    def plan(self, group: OpenGroup) -> Plan | None:
        """The tile program of a group; None for boxes, and for quantizations that see no whole groups."""
        first = group.ops[0]
        if isinstance(first, CONTRACTIONS):
            if isinstance(first, bfp.ConvLocalGradOp | nn.ConvLocalGradOp):
                return plan_local_gradient(first, group.mappings, self.placement_of, self.target)
            (mapping,) = group.mappings
            return plan_contraction(
                first,
                mapping,
                group.chain,
                group.quantizes,
                self.placement_of,
                self.target,
                statistics=group.statistics,
                stored=group.tail in self.stored(group.ops),
            )
        if is_box_op(first):
            return None
        if isinstance(first, bfp.DequantizeOp):
            return plan_dequantize(first, self.placement_of, self.target)
        if isinstance(first, bfp.QuantizeOp) and quantizes_filters(first):
            return plan_filter_quantize(first, self.placement_of, self.target)
        if isinstance(first, POOL_GRADIENTS):
            return plan_pool_grad(first, self.placement_of, self.target)
        if isinstance(first, nn.GatherGradOp):
            return plan_gather_grad(first, self.placement_of, self.target)
        if isinstance(first, LIGHTNORM_TRAINING):
            check_positions(first, self.placement_of, place_of(first, self.graph.file))
            return plan_lightnorm(first, self.placement_of, self.target)
        plan = plan_vector_group(
            group.ops, self.stored(group.ops), self.placement_of, self.target, self._choices
        )
        if plan.buffers.overflow is not None and len(group.ops) == 1 and isinstance(first, LANE_SUMS):
            return plan_lane_sum(first, self.placement_of, self.target) or plan
        return plan

    def placement_of(self, value: SSAValue) -> Placement:
        """Where ``value`` would lie in DRAM."""
        return self.placements[value]

    def new_group(self, op: Operation) -> OpenGroup:
        """A group of ``op`` alone; CompileError where its tiles fit no buffer."""
        if isinstance(op, lightnorm.StatisticsOp):
            raise error(
                "FX429",
                f"{op.name} has no tile program of its own",
                place=place_of(op, self.graph.file),
                hint="it rides on the contraction that makes x, on the target that the schedule was made for",
            )
        kind = "contraction" if isinstance(op, CONTRACTIONS) else kind_of(op)
        group = OpenGroup([op], kind, self.mappings_of(op))
        plan = self.plan(group)
        failure = None if plan is None else obstacle(plan, place_of(op, self.graph.file))
        if failure is not None:
            raise failure
        return group

    def has_room(self, group: OpenGroup, op: Operation) -> bool:
        """Whether the group's tiles still fit the buffers, and cut its accumulators as ``op`` needs them."""
        if group.is_contraction and not isinstance(op, bfp.QuantizeOp):
            first = group.first
            assert isinstance(first, CONTRACTIONS)
            (mapping,) = group.mappings
            tiles = tiles_of(first, mapping, self.placement_of)
            rank = len(shape_of(group.tail))
            rides = isinstance(op, lightnorm.StatisticsOp) and holds_channel_groups(tiles, rank)
            if not rides and not runs_in_place(op, tiles, rank):
                return False
        plan = self.plan(OpenGroup([*group.ops, op], group.kind, group.mappings))
        return plan is not None and obstacle(plan, place_of(op, self.graph.file)) is None

    def mappings_of(self, op: Operation) -> tuple[LoopMapping, ...]:
        """The mappings of a contraction, made up for one in fp32; none for another op.

        Raises CompileError for a quantized contraction without one.
        """
        if not isinstance(op, CONTRACTIONS):
            return ()
        found = op.attributes.get("mapping")
        if isinstance(found, ArrayAttr):
            return tuple(one.data for one in found if isinstance(one, MappingAttr))
        if isinstance(found, MappingAttr):
            return (found.data,)
        if isinstance(op, bfp.CONTRACTIONS):
            raise error(
                "FX424",
                "a quantized contraction without a mapping",
                place=place_of(op, self.graph.file),
                hint="run map-contractions before schedule",
            )
        if isinstance(op, nn.ConvLocalGradOp):
            return tuple(
                self._fp32_mapping(op, local_grad_extents(op, phase), phase) for phase in phases_of(op)
            )
        if isinstance(op, nn.ConvWeightGradOp):
            return (self._fp32_mapping(op, weight_grad_extents(op)),)
        return (
            self._fp32_mapping(op, conv_extents(op) if isinstance(op, nn.ConvOp) else matmul_extents(op)),
        )

    def _fp32_mapping(
        self, op: ContractionOp, extents: dict[Dim, int], phase: PhasePair | None = None
    ) -> LoopMapping:
        def fits(mapping: LoopMapping) -> bool:
            plan = plan_contraction(op, mapping, (), (), self.placement_of, self.target, phase=phase)
            return plan is not None and plan.buffers.overflow is None

        return fp32_mapping(extents, self.target, fits, cuts_window=isinstance(op, nn.ConvWeightGradOp))


def has_tile_program(op: type[Operation]) -> bool:
    """Whether the machine computes ops of a class (or they are constants)."""
    others = (*CONTRACTIONS, *CONSTANTS, *STANDING_ALONE, *RIDING)
    return op in STEPS or op in BOX_OPS or op in others


def _check_has_program(op: Operation, file: str) -> None:
    if has_tile_program(type(op)):
        return
    raise error(
        "FX429",
        f"{op.name} has no tile program",
        place=place_of(op, file),
        hint="run expand-batch-norm and expand-dropout before schedule",
    )


def kind_of(op: Operation) -> GroupKind:
    """The kind of group that ``op`` starts outside of contractions."""
    if isinstance(op, bfp.QuantizeOp | bfp.DequantizeOp):
        return "convert"
    if isinstance(op, (nn.PoolOp, *POOL_GRADIENTS)):
        return "window"
    if isinstance(op, (*ROW_OPS, *REDUCTIONS, *LIGHTNORM_TRAINING, nn.ReduceMaxGradOp)):
        return "row"
    return "elementwise" if type(op) in ELEMENTWISE_FUNCTIONS else "movement"
