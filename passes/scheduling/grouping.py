"""Groups of ops that run as one tile program, formed in program order.

An op joins the group of its operands when everything else it reads is there before that group starts, and
when the group's tiles still fit the buffers with it; otherwise it starts a group. So groups run in the order
of their numbers.
"""

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
from flexc.passes.scheduling.box_copies import BOX_OPS, is_box_op
from flexc.passes.scheduling.contraction_plan import (
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
from flexc.passes.scheduling.lane_sum_plan import plan_lane_sum
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.lightnorm_plan import check_positions, plan_lightnorm
from flexc.passes.scheduling.limits import Plan, check_supported, obstacle
from flexc.passes.scheduling.local_gradient_plan import plan_local_gradient
from flexc.passes.scheduling.matmul_tiles import matmul_extents
from flexc.passes.scheduling.pool_grad_plan import plan_pool_grad
from flexc.passes.scheduling.result_layout import LIGHTNORM_TRAINING, is_alias, result_placement
from flexc.passes.scheduling.vector_functions import ELEMENTWISE_FUNCTIONS
from flexc.passes.scheduling.vector_plan import Choices, plan_vector_group
from flexc.passes.scheduling.vector_steps import STEPS
from flexc.target.machine import Target

CONTRACTIONS = (
    bfp.ConvOp,
    bfp.ConvLocalGradOp,
    bfp.ConvWeightGradOp,
    bfp.MatMulOp,
    nn.ConvOp,
    nn.ConvLocalGradOp,
    nn.ConvWeightGradOp,
    nn.MatMulOp,
)
CONV_GRADIENTS = (bfp.ConvLocalGradOp, bfp.ConvWeightGradOp, nn.ConvLocalGradOp, nn.ConvWeightGradOp)
QUANTIZED = (bfp.ConvOp, bfp.MatMulOp, bfp.ConvLocalGradOp, bfp.ConvWeightGradOp)
CONSTANTS = (nn.ConstantOp, bfp.ConstantOp)
POOL_GRADIENTS = (nn.MaxPoolGradOp, nn.AveragePoolGradOp)
STANDING_ALONE = (bfp.DequantizeOp, nn.GatherGradOp, *LIGHTNORM_TRAINING, *POOL_GRADIENTS)
"""Ops with a tile program of their own, which nothing joins."""
ROW_OPS = (nn.SoftmaxOp, nn.LogSoftmaxOp, nn.LayerNormOp, nn.BatchNormOp, lightnorm.InferOp)
"""Ops that keep the shape and may follow others on a tile, as elementwise ops may."""
LANE_SUMS = (nn.ReduceMeanOp, nn.ReduceSumOp)
REDUCTIONS = (nn.ReduceMaxOp, nn.ReduceMeanOp, nn.ReduceSumOp)


@dataclass
class OpenGroup:
    """A group so far. ``tail`` is what the accumulators of a contraction hold after its ops in place."""

    kind: GroupKind
    ops: list[Operation]
    mappings: tuple[LoopMapping, ...] = ()

    @property
    def quantizes(self) -> list[bfp.QuantizeOp]:
        """The quantizations of the group."""
        return [op for op in self.ops if isinstance(op, bfp.QuantizeOp)]

    @property
    def chain(self) -> list[Operation]:
        """The other ops, behind the first."""
        return [op for op in self.ops[1:] if not isinstance(op, bfp.QuantizeOp)]

    @property
    def tail(self) -> SSAValue:
        """The value that a contraction's accumulators hold in the end."""
        return (self.chain[-1] if self.chain else self.ops[0]).results[0]


@dataclass
class Grouping:
    """The groups of a graph, and where every value would lie in DRAM."""

    graph: Graph
    target: Target
    placements: dict[SSAValue, Placement] = field(default_factory=dict)
    groups: list[OpenGroup] = field(default_factory=list)
    group_index: dict[SSAValue, int] = field(default_factory=dict)
    _choices: Choices = field(default_factory=dict)

    def add(self, op: Operation) -> None:
        """Puts ``op`` into a group, unless it is a constant or moves nothing.

        Raises CompileError for an op that the machine does not compute, and for tiles that fit no buffer.
        """
        if isinstance(op, ReturnOp):
            return
        _check_has_program(op, self.graph.file)
        check_supported(op, self.graph.file)
        for result in op.results:
            self.placements[result] = result_placement(result, self.placements)
        if isinstance(op, CONSTANTS):
            return
        if is_alias(op, self.placements):
            source = op.operands[0]
            if source in self.group_index:
                self.group_index[op.results[0]] = self.group_index[source]
            return
        index = self._group_to_join(op)
        if index is None:
            self.groups.append(self._new_group(op))
            index = len(self.groups) - 1
        else:
            self.groups[index].ops.append(op)
        self.group_index.update((result, index) for result in op.results)

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

    def _new_group(self, op: Operation) -> OpenGroup:
        if isinstance(op, CONTRACTIONS):
            group = OpenGroup("contraction", [op], self.mappings_of(op))
        else:
            group = OpenGroup(kind_of(op), [op])
        plan = self.plan(group)
        failure = None if plan is None else obstacle(plan, place_of(op, self.graph.file))
        if failure is not None:
            raise failure
        return group

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
        if isinstance(op, QUANTIZED):
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

    def _group_to_join(self, op: Operation) -> int | None:
        """The latest group that ``op`` reads from, where it can run there."""
        indices = [self.group_index[operand] for operand in op.operands if operand in self.group_index]
        if not indices:
            return None
        index = max(indices)
        group = self.groups[index]
        if _stands_alone(group.ops[0]) or quantizes_filters(op):
            return None
        inside = [operand for operand in op.operands if _made_by(operand, group.ops)]
        later = [one for one in op.operands if one not in inside and self.group_index.get(one, -1) >= index]
        if not inside or later:
            return None
        joins = self._joins_contraction if group.kind == "contraction" else self._joins_vector
        if not joins(op, group):
            return None
        plan = self.plan(OpenGroup(group.kind, [*group.ops, op], group.mappings))
        runs = plan is not None and obstacle(plan, place_of(op, self.graph.file)) is None
        return index if runs else None

    def _joins_contraction(self, op: Operation, group: OpenGroup) -> bool:
        if op.operands[0] is not group.tail or isinstance(group.ops[0], CONV_GRADIENTS):
            return False
        if isinstance(op, bfp.QuantizeOp):
            return True
        first = group.ops[0]
        assert isinstance(first, CONTRACTIONS)
        (mapping,) = group.mappings
        only_use = len(list(group.tail.uses)) == 1
        tiles = tiles_of(first, mapping, self.placement_of)
        return only_use and runs_in_place(op, tiles, len(shape_of(group.tail)))

    def _joins_vector(self, op: Operation, group: OpenGroup) -> bool:
        if isinstance(op, bfp.QuantizeOp):
            return bool(shape_of(op.x))
        if not isinstance(op, (*ELEMENTWISE_FUNCTIONS, *ROW_OPS)):
            return False
        shape = shape_of(group.ops[0].results[0])
        return shape_of(op.results[0]) == shape and (
            type(op) in ELEMENTWISE_FUNCTIONS or _made_by(op.operands[0], group.ops)
        )


def _stands_alone(op: Operation) -> bool:
    """Whether nothing joins the group of ``op``."""
    return isinstance(op, STANDING_ALONE) or is_box_op(op) or quantizes_filters(op)


def _made_by(value: SSAValue, ops: Sequence[Operation]) -> bool:
    return value.owner in ops


def has_tile_program(op: type[Operation]) -> bool:
    """Whether the machine computes ops of a class (or they are constants)."""
    others = (*CONTRACTIONS, *CONSTANTS, *STANDING_ALONE, bfp.QuantizeOp)
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
