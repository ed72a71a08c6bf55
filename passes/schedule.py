"""Form scheduled groups and lay their results out in DRAM.

    %c = bfp.conv %x, %w {mapping = ...}
    %y = lightnorm.infer %c, ...
    %q = bfp.quantize %y
        ->
    %c = bfp.conv ... {schedule = #flexblock.group<3, contraction>}
    %y = lightnorm.infer ... {schedule = #flexblock.group<3, contraction>}
    %q = bfp.quantize ... {schedule = #flexblock.group<3, contraction>,
                           placement = #flexblock.placement<m8 size ... strides [...], e8 size ...>}

Where the statistics of a lightnorm.forward can ride on the contraction that makes its operand, the op is
taken apart (:mod:`flexc.passes.scheduling.split_lightnorm`).

Every op that runs gets a group; constants, and reshapes that move nothing, have none. A result that something
outside its group reads gets a placement without an address, as do constants and the arguments of the
function; so does the table of constants that an op needs beside its operands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.ir.placement import (
    ARGUMENT_PLACEMENTS,
    GROUP,
    TABLE,
    Group,
    GroupAttr,
    Placement,
    PlacementAttr,
    placement_array,
    set_attribute,
    set_result_placements,
)
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.scheduling.grouping import Grouping
from flexc.passes.scheduling.layout import (
    TABLE_OPS,
    block_placement,
    block_role,
    has_constant_table,
    natural_order,
    plain_placement,
    shape_of,
    table_placement,
)
from flexc.passes.scheduling.result_layout import is_alias
from flexc.target import load_target

CONSTANTS = (nn.ConstantOp, bfp.ConstantOp)


@dataclass(frozen=True)
class Schedule(Pass):
    """Option: the target (a name or a .toml file)."""

    name: ClassVar[str] = "schedule"
    target: str = "flexblock"

    def run(self, graph: Graph) -> bool:
        """Raises CompileError FX42x for what does not fit the machine."""
        grouping = Grouping(graph, load_target(self.target))
        block = graph.main.body.block
        place_arguments(grouping)
        for op in tuple(block.ops):
            grouping.add(op)
        arguments = tuple(grouping.placements[argument] for argument in block.args)
        changed = set_attribute(graph.main, ARGUMENT_PLACEMENTS, placement_array(arguments))
        groups = {
            op: GroupAttr(Group(index, group.kind))
            for index, group in enumerate(grouping.groups)
            for op in group.ops
        }
        for op in block.ops:
            if op.results:
                changed |= set_result_placements(op, _placements(op, grouping))
                changed |= set_attribute(op, TABLE, _table(op))
                changed |= set_attribute(op, GROUP, groups.get(op))
        return changed or grouping.split


def place_arguments(grouping: Grouping) -> None:
    """Says where the arguments of the function lie."""
    for argument in grouping.graph.main.body.block.args:
        grouping.placements[argument] = argument_placement(argument)


def argument_placement(argument: SSAValue) -> Placement:
    """Inputs come in row-major order; quantized ones as their reader wants them."""
    if isinstance(argument.type, bfp.BlockTensorType):
        return block_placement(argument.type, block_role(argument))
    assert isinstance(argument.type, TensorType)
    return plain_placement(argument.type, natural_order(len(shape_of(argument))))


def _placements(op: Operation, grouping: Grouping) -> list[Placement | None]:
    return [grouping.placements[result] if _in_dram(op, result, grouping) else None for result in op.results]


def _in_dram(op: Operation, result: SSAValue, grouping: Grouping) -> bool:
    if isinstance(op, CONSTANTS):
        return any(not _folded_into_table(use.operation, use.index) for use in result.uses)
    return is_alias(op, grouping.placements) or grouping.is_stored(result)


def _table(op: Operation) -> PlacementAttr | None:
    return PlacementAttr(table_placement(op)) if isinstance(op, TABLE_OPS) else None


def _folded_into_table(op: Operation, operand_index: int) -> bool:
    return isinstance(op, lightnorm.InferOp) and operand_index > 0 and has_constant_table(op)
