"""Vector groups: loops over tiles of one result shape, loads, vector functions, conversion, stores.

Slots are striped over the cores and one box is the chip's tile. Box copies are the same without functions.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import ExitStack

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue

from flexc.backends.stream.emit_epilogue import element_strides, emit_norm, emit_stage, norm_rows
from flexc.backends.stream.emit_program import FORMATS, Frame, Program, on_chip_format
from flexc.backends.stream.isa import Addressing, Opcode
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.ir.placement import Plane
from flexc.passes.scheduling.box_copies import CopyPlan
from flexc.passes.scheduling.buffer_slots import BufferSlot
from flexc.passes.scheduling.layout import PLAIN_FORMATS, shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis
from flexc.passes.scheduling.vector_plan import TileSlot, VectorPlan
from flexc.passes.scheduling.vector_sources import Source, Tap, gather_rules
from flexc.passes.scheduling.vector_steps import Domain, Step


def emit_vector_group(program: Program, plan: VectorPlan) -> None:
    """The records of a vector group; its DRAM slots are declared already."""
    _Emission(program, plan).emit()


def emit_copy(program: Program, plan: CopyPlan, result: Plane) -> None:
    """The records of one box of a result put together from boxes."""
    register = program.declare(plan.slot)
    frame = _frame(plan.loops)
    source = plan.copy.source
    plane = program.placements[source.value].planes[0]
    order = plan.copy.domain.order
    with ExitStack() as loops:
        for _, count in plan.loops:
            loops.enter_context(program.loop(count))
        if plan.loops:
            program.next(register)
        emit_load(program, frame, source, plane, plan.box, register)
        tile = Operand(register, on_chip_format(plane), Addressing.CHIP, plan.box.strides_along(order))
        strides = [plan.copy.strides_bits[dim] for dim in order]
        dims = [frame.dim(domain_axis(plan.copy.domain, plan.tile, dim)) for dim in order]
        program.store(dims, program.dram(result, strides, plan.copy.offset_bits), tile)


def emit_load(program: Program, frame: Frame, source: Source, plane: Plane, box: Tile, register: int) -> None:
    """Loads a source's tile."""
    dst = Operand(register, on_chip_format(plane), Addressing.CHIP, box.pitches)
    src = program.dram(plane, (axis.stride_bits for axis in box.axes))
    program.load([frame.dim(axis) for axis in box.axes], dst, src, fill=source.fill)


def domain_axis(domain: Domain, tile: tuple[int, ...], dim: int, stride_bits: int = 0) -> TileAxis:
    """A dimension of the domain as a group walks it."""
    return TileAxis(stride_bits, tile[dim], domain.shape[dim], advance={dim: tile[dim]}, position={dim: 1})


def _frame(loops: tuple[tuple[int, int], ...]) -> Frame:
    return Frame({dim: level for level, (dim, _) in enumerate(loops)})


class _Emission:
    def __init__(self, program: Program, plan: VectorPlan) -> None:
        self.program = program
        self.plan = plan
        self.frame = _frame(plan.loops)
        self.registers = {slot: program.declare(slot) for slot in plan.buffers.slots}
        self.order = plan.domain.order

    def emit(self) -> None:
        """A load stands in the innermost loop that moves it; everything else in all loops."""
        with ExitStack() as loops:
            for level in range(len(self.plan.loops) + 1):
                for source, held in self.plan.sources.items():
                    if self._level(held.tile) == level:
                        self._load(source, held, level)
                if level < len(self.plan.loops):
                    loops.enter_context(self.program.loop(self.plan.loops[level][1]))
            self._body()

    def _level(self, tile: Tile) -> int:
        moving = (level + 1 for dim, level in self.frame.levels.items() if tile.moves_with(dim))
        return max(moving, default=0)

    def _load(self, source: Source, held: TileSlot, level: int) -> None:
        register = self.registers[held.slot]
        if level:
            self.program.next(register)
        if source.gather is not None:
            self._gather(source, held)
        else:
            emit_load(self.program, self.frame, source, self._plane(source), held.tile, register)

    def _plane(self, source: Source) -> Plane:
        placements = self.program.placements
        placement = placements[source.value] if source.table is None else self.program.tables[source.table]
        return placement.planes[0]

    def _body(self) -> None:
        fresh: set[BufferSlot] = set()
        for step in self.plan.steps:
            if step.only_loads:
                continue
            slot = self.plan.values[step.op.results[0]].slot
            if self.plan.loops and slot not in fresh:
                self.program.next(self.registers[slot])
            fresh.add(slot)
            self._step(step)
        for stage in self.plan.stages:
            registers = (self.registers[stage.mantissa_slot], self.registers[stage.exponent_slot])
            if self.plan.loops:
                for register in registers:
                    self.program.next(register)
            strides = element_strides(self.plan.domain.shape)
            emit_stage(
                self.program,
                self.frame,
                stage,
                registers,
                self.order,
                self._dims(self.order),
                self._value(stage.op.x, self.order),
                [strides[dim] for dim in self.order],
            )
        for value in dict.fromkeys(step.op.results[0] for step in self.plan.steps):
            if value in self.program.placements:
                self._store(value)

    def _dims(self, order: tuple[int, ...]) -> list[Dim]:
        plan = self.plan
        return [self.frame.dim(domain_axis(plan.domain, plan.tile, dim)) for dim in order]

    def _value(self, value: SSAValue, keys: tuple[Hashable, ...]) -> Operand:
        held = self.plan.values[value]
        assert isinstance(value.type, TensorType)
        fmt = FORMATS[PLAIN_FORMATS[value.type.element_type]]
        return Operand(self.registers[held.slot], fmt, Addressing.CHIP, held.tile.strides_along(keys))

    def _operand(self, source: Source, keys: tuple[Hashable, ...]) -> Operand:
        held = self.plan.operand(source)
        if held is self.plan.values.get(source.value) and source.table is None:
            return self._value(source.value, keys)
        fmt = on_chip_format(self._plane(source))
        return Operand(self.registers[held.slot], fmt, Addressing.CHIP, held.tile.strides_along(keys))

    def _step(self, step: Step) -> None:
        result = step.op.results[0]
        order = (*(dim for dim in self.order if dim not in step.row), *step.row)
        taps = tuple(Tap(index) for index in range(len(step.taps)))
        keys: tuple[Hashable, ...] = (*order, *taps)
        dims = [*self._dims(order), *(Dim(extent, limit=extent) for extent in step.taps)]
        operands = [self._operand(source, keys) for source in step.operands]
        if step.norm is not None:
            table = self.plan.sources[step.operands[1]].tile
            rows = norm_rows(operands[1], table.strides_along(("row",))[0])
            emit_norm(
                self.program, dims, order.index(1), step.norm, (self._value(result, keys), operands[0], *rows)
            )
        elif step.function is not None:
            self.program.vector(
                step.function.name,
                dims,
                (self._value(result, keys), *operands),
                immediates=step.function.immediates,
                reduced_dims=len(step.taps) or len(step.row),
            )
        for function, more in step.then:
            place = self._value(result, order)
            sources = [self._operand(source, order) for source in more]
            self.program.vector(
                function.name, self._dims(order), (place, place, *sources), immediates=function.immediates
            )

    def _store(self, value: SSAValue) -> None:
        (plane,) = self.program.placements[value].planes
        strides = plane.strides_bits or (0,)
        dst = self.program.dram(plane, (strides[dim] for dim in self.order))
        self.program.store(self._dims(self.order), dst, self._value(value, self.order))

    def _gather(self, source: Source, held: TileSlot) -> None:
        """The coordinate along the gathered axis comes from the indices, read where they lie in DRAM."""
        op = source.gather
        assert op is not None
        operand_rules, index_rules = gather_rules(op, self.order)
        plane = self.program.placements[op.x].planes[0]
        index_plane = self.program.placements[op.indices].planes[0]
        axis = int(op.axis.value.data) % len(shape_of(op.x))
        keys: list[int] = list(self.order)
        dims = self._dims(self.order)
        along = {rule.follows: plane.strides_bits[rule.dim] for rule in operand_rules}
        indices = {rule.follows: index_plane.strides_bits[rule.dim] for rule in index_rules}
        if index_rules:
            gathered = max(dim for dim in indices if dim is not None)
        else:
            gathered = len(keys)
            keys.append(gathered)
            dims.append(Dim(1, limit=1))
        along[gathered] = plane.strides_bits[axis]
        dst = Operand(
            self.registers[held.slot],
            FORMATS[plane.format],
            Addressing.CHIP,
            held.tile.strides_along(keys),
        )
        src = self.program.dram(plane, (along.get(dim, 0) for dim in keys))
        self.program.records.append(
            Record(
                Opcode.GATHER,
                dims,
                (dst, src, self.program.dram(index_plane, (indices.get(dim, 0) for dim in keys))),
                axis=keys.index(gathered),
                core_grid=Frame({}).grid,
                immediate_int=shape_of(op.x)[axis],
            )
        )
