"""Which ops run together: the schedule's rules without its buffers.

The schedule asks at every op whether the group's tiles still fit the buffers; here they always do. So the
closed form and the stream agree on what reaches DRAM wherever tiles fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.passes.schedule import argument_placement
from flexc.passes.scheduling.group_rules import OpGroup, OpGroups
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.result_layout import is_alias


@dataclass
class OpGrouping(OpGroups[OpGroup]):
    """The groups of a graph for every machine; batch norms in fp32 stay whole."""

    aliases: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """Values that a reshape gives another shape without moving them."""

    @classmethod
    def of(cls, ops: Iterable[Operation]) -> OpGrouping:
        """The groups of the ops of a function."""
        found = cls()
        for op in ops:
            found.add(op)
        return found

    def root(self, value: SSAValue) -> SSAValue:
        """The value that lies where ``value`` does."""
        return self.aliases.get(value, value)

    def normalized(self, index: int) -> lightnorm.ForwardOp | None:
        """The LightNorm whose statistics may ride on the results of a contraction's group.

        Channels of the results are an axis of their own in images and matrices.
        """
        group = self.groups[index]
        if not isinstance(group.first, bfp.ConvOp | bfp.MatMulOp):
            return None
        if isinstance(group.first, bfp.MatMulOp) and len(shape_of(group.tail)) != 2:
            return None
        readers = [use.operation for use in group.tail.uses]
        norms = [one for one in readers if isinstance(one, lightnorm.ForwardOp)]
        return next((one for one in norms if self.group_index.get(self.root(one.gamma), -1) < index), None)

    def add(self, op: Operation) -> None:
        """Puts ``op`` into a group, unless it is a constant or moves nothing."""
        for operand in op.operands:
            if operand not in self.placements:
                self.placements[operand] = argument_placement(operand)
        super().add(op)
        if isinstance(op, nn.ReshapeOp) and is_alias(op, self.placements):
            self.aliases[op.out] = self.root(op.x)

    def new_group(self, op: Operation) -> OpGroup:
        """A group of ``op`` alone."""
        return OpGroup([op])

    def has_room(self, group: OpGroup, op: Operation) -> bool:
        """Always."""
        return True
