"""Which ops run together as one tile program, by what they are and what they read: rules without a machine.

Groups are formed in program order. An op joins the group of its operands when everything else it reads is
there before that group starts; otherwise it starts a group. So groups run in the order of their numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.placement import Placement
from flexc.passes.scheduling.box_copies import is_box_op
from flexc.passes.scheduling.filter_quantize_plan import quantizes_filters
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.result_layout import LIGHTNORM_TRAINING, is_alias, result_placement
from flexc.passes.scheduling.vector_functions import ACCUMULATOR_FUNCTIONS, ELEMENTWISE_FUNCTIONS

CONTRACTIONS = (*bfp.CONTRACTIONS, *nn.CONTRACTIONS)
CONV_GRADIENTS = (bfp.ConvLocalGradOp, bfp.ConvWeightGradOp, nn.ConvLocalGradOp, nn.ConvWeightGradOp)
CONSTANTS = (nn.ConstantOp, bfp.ConstantOp)
POOL_GRADIENTS = (nn.MaxPoolGradOp, nn.AveragePoolGradOp)
STANDING_ALONE = (bfp.DequantizeOp, nn.GatherGradOp, *LIGHTNORM_TRAINING, *POOL_GRADIENTS)
"""Ops with a tile program of their own, which nothing joins."""
WHOLE_BATCH_NORMS = (train.BatchNormOp, train.BatchNormGradOp)
"""Batch norms in fp32, which only estimates take whole; nothing joins them either."""
RIDING = (bfp.QuantizeOp, lightnorm.StatisticsOp)
"""Ops on the results of a contraction that leave them as they are."""
ROW_OPS = (nn.SoftmaxOp, nn.LogSoftmaxOp, nn.LayerNormOp, nn.BatchNormOp, lightnorm.InferOp)
"""Ops that keep the shape and may follow others on a tile, as elementwise ops may."""

_NOTHING_JOINS = (*STANDING_ALONE, *WHOLE_BATCH_NORMS)


@dataclass
class OpGroup:
    """Ops of one tile program, in order."""

    ops: list[Operation]

    @property
    def first(self) -> Operation:
        """What the group started with."""
        return self.ops[0]

    @property
    def is_contraction(self) -> bool:
        """Whether a contraction heads the group."""
        return isinstance(self.first, CONTRACTIONS)

    @property
    def quantizes(self) -> list[bfp.QuantizeOp]:
        """The quantizations of the group."""
        return [op for op in self.ops if isinstance(op, bfp.QuantizeOp)]

    @property
    def chain(self) -> list[Operation]:
        """The ops behind the first that work on what the group makes."""
        return [op for op in self.ops[1:] if not isinstance(op, RIDING)]

    @property
    def statistics(self) -> lightnorm.StatisticsOp | None:
        """The statistics that ride on a contraction's results."""
        return next((op for op in self.ops if isinstance(op, lightnorm.StatisticsOp)), None)

    @property
    def tail(self) -> SSAValue:
        """The value that a contraction's accumulators hold in the end."""
        return (self.chain[-1] if self.chain else self.first).results[0]


AnyGroup = TypeVar("AnyGroup", bound=OpGroup)


@dataclass
class OpGroups(ABC, Generic[AnyGroup]):
    """Groups in program order, the group that makes each value, and where every value would lie in DRAM."""

    placements: dict[SSAValue, Placement] = field(default_factory=dict, kw_only=True)
    groups: list[AnyGroup] = field(default_factory=list, kw_only=True)
    group_index: dict[SSAValue, int] = field(default_factory=dict, kw_only=True)

    def add(self, op: Operation) -> None:
        """Puts ``op`` into a group, unless it is a constant or moves nothing."""
        if isinstance(op, ReturnOp):
            return
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
            self.groups.append(self.new_group(op))
            index = len(self.groups) - 1
        else:
            self.groups[index].ops.append(op)
        self.group_index.update((result, index) for result in op.results)

    @abstractmethod
    def new_group(self, op: Operation) -> AnyGroup:
        """A group of ``op`` alone."""

    @abstractmethod
    def has_room(self, group: AnyGroup, op: Operation) -> bool:
        """Whether ``op``, which the rules let into ``group``, can run there."""

    def _group_to_join(self, op: Operation) -> int | None:
        """The latest group that ``op`` reads from, where it can run there."""
        indices = [self.group_index[operand] for operand in op.operands if operand in self.group_index]
        if not indices or _stands_alone(op):
            return None
        index = max(indices)
        group = self.groups[index]
        if _stands_alone(group.first):
            return None
        inside = [operand for operand in op.operands if operand.owner in group.ops]
        later = [one for one in op.operands if one not in inside and self.group_index.get(one, -1) >= index]
        if not inside or later:
            return None
        joins = _joins_contraction if group.is_contraction else _joins_vector
        return index if joins(op, group) and self.has_room(group, op) else None


def _stands_alone(op: Operation) -> bool:
    """Whether ``op`` has a group of its own."""
    return isinstance(op, _NOTHING_JOINS) or is_box_op(op) or quantizes_filters(op)


def _joins_contraction(op: Operation, group: OpGroup) -> bool:
    if op.operands[0] is not group.tail or isinstance(group.first, CONV_GRADIENTS):
        return False
    if isinstance(op, bfp.QuantizeOp):
        return True
    if isinstance(op, lightnorm.StatisticsOp):
        return group.statistics is None
    in_place = isinstance(op, lightnorm.InferOp | nn.BatchNormOp) or type(op) in ACCUMULATOR_FUNCTIONS
    return in_place and len(list(group.tail.uses)) == 1


def _joins_vector(op: Operation, group: OpGroup) -> bool:
    if isinstance(op, bfp.QuantizeOp):
        return bool(shape_of(op.x))
    if not isinstance(op, (*ELEMENTWISE_FUNCTIONS, *ROW_OPS)):
        return False
    return shape_of(op.results[0]) == shape_of(group.first.results[0]) and (
        type(op) in ELEMENTWISE_FUNCTIONS or op.operands[0].owner in group.ops
    )
