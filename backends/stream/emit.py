"""From a scheduled and allocated graph to an instruction stream.

Groups are emitted in order: the DRAM slots of what they read first and of what they write, the slots on chip,
the loops. What a group does is planned anew from the same inputs as in the schedule, so the plan is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.backends.stream.emit_contraction import emit_contraction
from flexc.backends.stream.emit_data import initial_data
from flexc.backends.stream.emit_dequantize import emit_dequantize
from flexc.backends.stream.emit_filter_quantize import emit_filter_quantize
from flexc.backends.stream.emit_gather_grad import emit_gather_grad
from flexc.backends.stream.emit_lane_sum import emit_lane_sum
from flexc.backends.stream.emit_lightnorm import emit_lightnorm
from flexc.backends.stream.emit_norm_constants import emit_norm_constants
from flexc.backends.stream.emit_pool_grad import emit_pool_grad
from flexc.backends.stream.emit_program import FORMATS, Program
from flexc.backends.stream.emit_vector import emit_copy, emit_vector_group
from flexc.backends.stream.isa import Opcode
from flexc.backends.stream.program import GroupRange, MachineLimits, Stream, Symbol, SymbolKind, SymbolPlane
from flexc.backends.stream.record_builder import Record
from flexc.diagnostics import Place
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import place_of
from flexc.ir.placement import (
    ARGUMENT_PLACEMENTS,
    TABLE,
    Group,
    Placement,
    group_of,
    placement_of,
    placements_in,
    result_placements,
)
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.ir.value_names import value_names
from flexc.numerics.block_float import groups_shape
from flexc.passes.allocate import base_of
from flexc.passes.scheduling.box_copies import box_copies, is_box_op, plan_copy
from flexc.passes.scheduling.contraction_plan import ContractionPlan
from flexc.passes.scheduling.dequantize_plan import DequantizePlan
from flexc.passes.scheduling.filter_quantize_plan import FilterQuantizePlan
from flexc.passes.scheduling.gather_grad_plan import GatherGradPlan
from flexc.passes.scheduling.grouping import Grouping, OpenGroup
from flexc.passes.scheduling.lane_sum_plan import LaneSumPlan
from flexc.passes.scheduling.layout import has_constant_table, shape_of
from flexc.passes.scheduling.lightnorm_plan import LightNormPlan
from flexc.passes.scheduling.local_gradient_plan import LocalGradientPlan
from flexc.passes.scheduling.pool_grad_plan import PoolGradPlan
from flexc.passes.scheduling.result_layout import result_placement
from flexc.passes.scheduling.vector_plan import VectorPlan
from flexc.target.machine import Target


def emit_stream(graph: Graph, target: Target, *, with_data: bool = True) -> Stream:
    """The stream of a graph after the passes ``schedule`` and ``allocate``, for the target they had.

    Without data, the initial data is left out (to look at records alone). Raises CompileError FX426 as
    :func:`~flexc.backends.stream.emit_data.initial_data` does.
    """
    return _Emitter(graph, target).emit(with_data)


class _Emitter:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        block = graph.main.body.block
        arguments = placements_in(graph.main.attributes.get(ARGUMENT_PLACEMENTS))
        self.in_dram: dict[SSAValue, Placement] = dict(zip(block.args, arguments, strict=True))
        tables: dict[Operation, Placement] = {}
        for op in block.ops:
            for value, placement in zip(op.results, result_placements(op), strict=False):
                if placement is not None:
                    self.in_dram[value] = placement
            table = placement_of(op, TABLE)
            if table is not None:
                tables[op] = table
        self.program = Program(self.in_dram, tables)
        self.grouping = Grouping(graph, target, placements=dict(self.in_dram))
        self.declared: set[SSAValue | Operation] = set()
        self.complete_at: dict[SSAValue, int] = {}

    def emit(self, with_data: bool) -> Stream:
        """All groups, then the end, the symbols and the initial data."""
        ranges = []
        for group, ops in self._groups():
            first = len(self.program.records)
            self._emit_group(ops, group)
            end = len(self.program.records)
            ranges.append(GroupRange(group.index, _label(group, ops), first, end))
            self.complete_at.update((value, end) for op in ops for value in op.results)
        self.program.records.append(Record(Opcode.HALT))
        return Stream(
            self.program.records.array(),
            tuple(self._symbols()),
            tuple(initial_data(self.graph)) if with_data else (),
            machine_limits(self.target),
            tuple(ranges),
        )

    def _groups(self) -> list[tuple[Group, list[Operation]]]:
        found: dict[int, tuple[Group, list[Operation]]] = {}
        for op in self.graph.main.body.block.ops:
            group = group_of(op)
            for value in op.results:
                if value not in self.grouping.placements:
                    self.grouping.placements[value] = result_placement(value, self.grouping.placements)
            if group is not None:
                found.setdefault(group.index, (group, []))[1].append(op)
        return [found[index] for index in sorted(found)]

    def _emit_group(self, ops: Sequence[Operation], group: Group) -> None:
        inside = {value for op in ops for value in op.results}
        for op in ops:
            for operand in op.operands:
                base = base_of(operand)
                if base not in inside and base in self.in_dram and base not in self.declared:
                    self.declared.add(base)
                    self.program.declare_planes(self.in_dram[base], keep=True)
            if op in self.program.tables:
                self.program.declare_planes(self.program.tables[op], keep=has_constant_table(op))
        for result in (value for op in ops for value in op.results):
            if result in self.in_dram:
                self.declared.add(result)
                self.program.declare_planes(self.in_dram[result], keep=False)
        for op in ops:
            if isinstance(op, lightnorm.InferOp) and not has_constant_table(op):
                emit_norm_constants(self.program, op, self.target)
        if is_box_op(ops[0]):
            (plane,) = self.in_dram[ops[0].results[0]].planes
            for copy in box_copies(ops[0], self.grouping.placement_of):
                emit_copy(self.program, plan_copy(copy, self.grouping.placement_of, self.target), plane)
            return
        open_group = OpenGroup(list(ops), group.kind, self.grouping.mappings_of(ops[0]))
        plan = self.grouping.plan(open_group)
        if isinstance(plan, ContractionPlan):
            emit_contraction(self.program, plan)
        elif isinstance(plan, LocalGradientPlan):
            for phase in plan.phases:
                emit_contraction(self.program, phase)
            for fill in plan.fills:
                emit_copy(self.program, fill, self.in_dram[plan.op.out].planes[0])
        elif isinstance(plan, PoolGradPlan):
            emit_pool_grad(self.program, plan)
        elif isinstance(plan, GatherGradPlan):
            emit_gather_grad(self.program, plan)
        elif isinstance(plan, LaneSumPlan):
            emit_lane_sum(self.program, plan)
        elif isinstance(plan, LightNormPlan):
            emit_lightnorm(self.program, plan)
        elif isinstance(plan, FilterQuantizePlan):
            emit_filter_quantize(self.program, plan)
        elif isinstance(plan, DequantizePlan):
            emit_dequantize(self.program, plan)
        else:
            assert isinstance(plan, VectorPlan)
            emit_vector_group(self.program, plan)

    def _symbols(self) -> Iterator[Symbol]:
        block = self.graph.main.body.block
        names = value_names(self.graph.main)
        for name, argument in zip(self.graph.input_names, block.args, strict=True):
            yield self._symbol(name, "input", argument)
        outputs = tuple(block.last_op.operands) if isinstance(block.last_op, ReturnOp) else ()
        for name, value in zip(self.graph.output_names, outputs, strict=True):
            yield self._symbol(name, "output", value)
        given = set(outputs)
        for op in block.ops:
            for value in op.results:
                if value not in self.in_dram:
                    continue
                if isinstance(op, nn.ConstantOp | bfp.ConstantOp):
                    yield self._symbol(op.key.data, "weight", value)
                elif value not in given:
                    yield self._symbol(names[value], "intermediate", value)

    def _symbol(self, name: str, kind: SymbolKind, value: SSAValue) -> Symbol:
        shape = shape_of(value)
        shapes = [shape]
        tile = bits = None
        if isinstance(value.type, bfp.BlockTensorType):
            tile, bits = value.type.get_tile(), value.type.mantissa_bits.data
            shapes.append(groups_shape(shape, tile))
        planes = []
        for plane, plane_shape in zip(self.in_dram[value].planes, shapes, strict=True):
            assert plane.address_bytes is not None
            planes.append(
                SymbolPlane(
                    FORMATS[plane.format],
                    plane.address_bytes,
                    plane.size_bytes,
                    plane_shape,
                    plane.strides_bits,
                )
            )
        complete_at = self.complete_at.get(base_of(value), 0)
        return Symbol(name, kind, shape, tuple(planes), complete_at, tile, bits)


def machine_limits(target: Target) -> MachineLimits:
    """What a stream says of the machine it was made for."""
    return MachineLimits(
        target.name,
        target.cores,
        target.operand_buffer_bytes,
        target.held_buffer_bytes,
        target.psum_buffer_bytes,
        target.dram_capacity_bytes,
    )


def _label(group: Group, ops: Sequence[Operation]) -> str:
    """Kind and node; of a contraction in a training step, its layer and which pass of it."""
    role = role_of(ops[0])
    if role is not None:
        return f"{group.kind} {role.layer.data} {role.training_pass.data}"
    place: Place = place_of(ops[0])
    return f"{group.kind} {place.node_name}" if place.node_name else group.kind
