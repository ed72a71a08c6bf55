"""Which ops run together: the schedule's rules without its buffers.

The schedule asks at every op whether the group's tiles still fit the buffers; here they always do. The rest
of the rules is the schedule's own (docs/schedule.md, "Groups"), so that the closed form and the stream agree
on what reaches DRAM wherever tiles fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.placement import Placement
from flexc.passes.schedule import argument_placement
from flexc.passes.scheduling.box_copies import is_box_op
from flexc.passes.scheduling.filter_quantize_plan import quantizes_filters
from flexc.passes.scheduling.grouping import (
    CONSTANTS,
    CONTRACTIONS,
    CONV_GRADIENTS,
    ROW_OPS,
    STANDING_ALONE,
)
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.result_layout import is_alias, result_placement
from flexc.passes.scheduling.vector_functions import ACCUMULATOR_FUNCTIONS, ELEMENTWISE_FUNCTIONS

BATCH_NORMS = (train.BatchNormOp, train.BatchNormGradOp)
"""Batch norms in fp32 stay whole here: their unit reads and writes as the machine description says."""


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
    def tail(self) -> SSAValue:
        """What a contraction's accumulators hold in the end."""
        return [op for op in self.ops if not isinstance(op, bfp.QuantizeOp)][-1].results[0]


@dataclass
class OpGrouping:
    """Groups in program order, and the group that makes each value."""

    groups: list[OpGroup] = field(default_factory=list)
    index_of: dict[SSAValue, int] = field(default_factory=dict)
    aliases: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """Values that a reshape gives another shape without moving them."""
    placements: dict[SSAValue, Placement] = field(default_factory=dict)
    """How every value would lie in DRAM."""

    @classmethod
    def of(cls, ops: Sequence[Operation]) -> OpGrouping:
        """The groups of the ops of a function."""
        found = cls()
        for op in ops:
            found._add(op)
        return found

    def root(self, value: SSAValue) -> SSAValue:
        """The value that lies where ``value`` does."""
        return self.aliases.get(value, value)

    def _add(self, op: Operation) -> None:
        if isinstance(op, ReturnOp):
            return
        for operand in op.operands:
            if operand not in self.placements:
                self.placements[operand] = argument_placement(operand)
        for result in op.results:
            self.placements[result] = result_placement(result, self.placements)
        if isinstance(op, CONSTANTS):
            return
        if isinstance(op, nn.ReshapeOp) and is_alias(op, self.placements):
            self.aliases[op.out] = self.root(op.x)
            source = self.root(op.x)
            if source in self.index_of:
                self.index_of[op.out] = self.index_of[source]
            return
        index = self._to_join(op)
        if index is None:
            self.groups.append(OpGroup([op]))
            index = len(self.groups) - 1
        else:
            self.groups[index].ops.append(op)
        self.index_of.update((result, index) for result in op.results)

    def _to_join(self, op: Operation) -> int | None:
        indices = [self.index_of[operand] for operand in op.operands if operand in self.index_of]
        if not indices or _stands_alone(op):
            return None
        index = max(indices)
        group = self.groups[index]
        if _stands_alone(group.first):
            return None
        inside = [operand for operand in op.operands if operand.owner in group.ops]
        later = [one for one in op.operands if one not in inside and self.index_of.get(one, -1) >= index]
        if not inside or later:
            return None
        joins = _joins_contraction if group.is_contraction else _joins_vector
        return index if joins(op, group) else None


def _stands_alone(op: Operation) -> bool:
    return isinstance(op, (*STANDING_ALONE, *BATCH_NORMS)) or is_box_op(op) or quantizes_filters(op)


def _joins_contraction(op: Operation, group: OpGroup) -> bool:
    if op.operands[0] is not group.tail or isinstance(group.first, CONV_GRADIENTS):
        return False
    if isinstance(op, bfp.QuantizeOp):
        return True
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
