"""Contraction groups: loops over DRAM tiles, operand loads, compute, and the ops on the accumulators.

A load stands in the innermost loop that moves it; accumulators are finished after the loop over k, which is
the innermost one. Tiles at the edges are clipped by the limits of the dimensions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from xdsl.ir import Operation

from flexc.backends.stream.emit_epilogue import (
    element_strides,
    emit_norm,
    emit_stage,
    fused_activation,
    norm_rows,
)
from flexc.backends.stream.emit_program import Frame, Program, on_chip_format
from flexc.backends.stream.emit_statistics import RidingEmission
from flexc.backends.stream.isa import Addressing, Format, Opcode, PeUse
from flexc.backends.stream.record_builder import Operand, Record
from flexc.ir import lightnorm, nn
from flexc.ir.mapping import DIMS
from flexc.ir.placement import Plane
from flexc.passes.scheduling.contraction_plan import ContractionPlan, bias_of
from flexc.passes.scheduling.contraction_tiles import REDUCED_DIMS, loop_axis
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile
from flexc.passes.scheduling.vector_functions import VectorFunction, elementwise_function

PE_USES: dict[str, PeUse] = {"reduce": PeUse.REDUCE, "chain": PeUse.CHAIN, "outputs": PeUse.OUTPUTS}


@dataclass(frozen=True)
class _Load:
    """A tile that is loaded into a slot, in each core or striped."""

    tile: Tile
    plane: Plane
    register: int
    per_core: bool

    def level(self, levels: dict[Hashable, int]) -> int:
        """How many loops the load stands in."""
        return max((level + 1 for dim, level in levels.items() if self.tile.moves_with(dim)), default=0)


def emit_contraction(program: Program, plan: ContractionPlan) -> None:
    """The records of a contraction group; its DRAM slots are declared already."""
    _Emission(program, plan).emit()


class _Emission:
    def __init__(self, program: Program, plan: ContractionPlan) -> None:
        self.program = program
        self.plan = plan
        self.tiles = plan.tiles
        loops = plan.tiles.extents.loops()
        self.trips = tuple(count for _, count in loops)
        self.levels = {dim: level for level, (dim, _) in enumerate(loops)}
        self.reduced_levels = [self.levels[dim] for dim in REDUCED_DIMS if dim in self.levels]
        self.frame = Frame(self.levels, plan.tiles.extents.cores)
        self.registers = {slot: program.declare(slot) for slot in plan.buffers.slots}
        self.accumulator = self.registers[plan.accumulator_slot]
        self.loads = tuple(self._loads())
        self.dims = [self.frame.dim(axis) for axis in plan.tiles.accumulator.axes]
        self.keys = tuple(range(len(self.dims)))
        self.statistics = None
        if plan.statistics is not None:
            self.statistics = RidingEmission(program, plan.statistics, self.frame, self.registers)

    def emit(self) -> None:
        """Loads and loops from the outside in, the sums, then what follows them."""
        outer = 0 if self.plan.statistics is None else self.plan.statistics.outer_loops
        with ExitStack() as around_statistics:
            self._open(around_statistics, range(outer))
            if self.statistics is not None:
                self.statistics.begin()
            self._results(outer)
            if self.statistics is not None:
                self.statistics.end()

    def _results(self, outer: int) -> None:
        """The loops over results from level ``outer`` on."""
        outputs = len(self.trips) - len(self.reduced_levels)
        with ExitStack() as open_loops:
            self._open(open_loops, range(outer, outputs))
            self._load_at(outputs)
            if outputs:
                self.program.next(self.accumulator)
            with ExitStack() as reducing:
                for level in range(outputs, len(self.trips)):
                    reducing.enter_context(self.program.loop(self.trips[level]))
                    self._load_at(level + 1)
                self._compute()
            self._epilogue()

    def _open(self, open_loops: ExitStack, levels: range) -> None:
        for level in levels:
            self._load_at(level)
            open_loops.enter_context(self.program.loop(self.trips[level]))

    def _loads(self) -> Iterator[_Load]:
        plan, placements = self.plan, self.program.placements
        a, b = placements[plan.a_value].planes, placements[plan.b_value].planes
        yield _Load(self.tiles.a, a[0], self.registers[plan.a_slot], True)
        if self.tiles.a_exponent is not None:
            assert plan.a_exponent_slot is not None
            yield _Load(self.tiles.a_exponent, a[1], self.registers[plan.a_exponent_slot], True)
        yield _Load(self.tiles.b, b[0], self.registers[plan.b_slot], True)
        if self.tiles.b_exponent is not None:
            assert plan.b_exponent_slot is not None
            yield _Load(self.tiles.b_exponent, b[1], self.registers[plan.b_exponent_slot], True)
        for parameter in plan.parameters:
            if parameter.value is None:
                plane = self.program.tables[parameter.op].planes[0]
            else:
                plane = placements[parameter.value].planes[0]
            yield _Load(parameter.tile, plane, self.registers[parameter.slot], False)

    def _load_at(self, level: int) -> None:
        for load in self.loads:
            if load.level(self.levels) != level:
                continue
            if level:
                self.program.next(load.register)
            fmt = on_chip_format(load.plane)
            addressing = Addressing.LOCAL if load.per_core else Addressing.CHIP
            dim = self.frame.dim if load.per_core else self.frame.chip_dim
            axes = load.tile.axes
            src = self.program.dram(load.plane, (axis.stride_bits for axis in axes))
            dst = Operand(load.register, fmt, addressing, load.tile.pitches)
            if load.per_core:
                self.program.load([dim(axis) for axis in axes], dst, src, grid=self.frame.grid)
            else:
                self.program.load([dim(axis) for axis in axes], dst, src)

    def _local(self, register: int, fmt: Format, tile: Tile) -> Operand:
        return Operand(register, fmt, Addressing.LOCAL, tile.strides_along(DIMS), tile.origin_bits)

    def _compute(self) -> None:
        tiles = self.tiles
        block = tiles.a_exponent is not None
        loads = iter(self.loads)
        a = next(loads)
        a_exponent = next(loads) if block else None
        b = next(loads)
        b_exponent = next(loads) if block else None
        operands: list[Operand | None] = [self._local(self.accumulator, Format.F32, tiles.accumulator)]
        for load in (a, a_exponent, b, b_exponent):
            operands.append(
                None if load is None else self._local(load.register, on_chip_format(load.plane), load.tile)
            )
        record = Record(
            Opcode.COMPUTE,
            [self.frame.dim(loop_axis(dim, tiles.extents, 0)) for dim in DIMS],
            operands,
            core_grid=self.frame.grid,
            init_loops=sum(1 << level for level in self.reduced_levels),
        )
        self.program.records.append(self._with_groups(record) if block else record)

    def _with_groups(self, record: Record) -> Record:
        """The fields of block operands: their groups, and how the array is used."""
        tiles, mapping = self.tiles, self.plan.mapping
        pes = tuple((PE_USES[pe.role], DIMS.index(pe.dim), pe.factor) for pe in mapping.pes if pe.factor > 1)
        return replace(
            record,
            a_group=tiles.a_group,
            b_group=tiles.b_group,
            a_axis=tiles.a_axis,
            b_axis=tiles.b_axis,
            whole_axis=(int(tiles.whole_axis[0]), int(tiles.whole_axis[1])),
            stream=int(mapping.stream == "b"),
            lane=(DIMS.index(mapping.lane.dim), mapping.lane.factor),
            unit=(DIMS.index(mapping.unit.dim), mapping.unit.factor),
            pe=pes,
        )

    def _epilogue(self) -> None:
        plan, grid = self.plan, self.frame.grid
        place = Operand(self.accumulator, Format.F32, Addressing.LOCAL, self.tiles.accumulator.pitches)
        if bias_of(plan.op) is not None:
            (bias,) = self._parameters(plan.op)
            self.program.vector("add", self.dims, (place, place, bias), grid=grid)
        for link in plan.chain:
            place = self._in_place(link, place)
        if self.statistics is not None:
            self.statistics.tile(self.dims, place, self._position_loops())
        positions = self._element_strides()
        for stage in plan.stages:
            registers = (self.registers[stage.mantissa_slot], self.registers[stage.exponent_slot])
            self._next(*registers)
            emit_stage(self.program, self.frame, stage, registers, self.keys, self.dims, place, positions)
        if plan.result in self.program.placements:
            self._store(place)

    def _position_loops(self) -> int:
        """The bits of loops that move positions of the results."""
        assert self.tiles.channel_axis is not None
        of_channels = self.tiles.result[self.tiles.channel_axis].advance
        return sum(
            1 << level
            for dim, level in self.levels.items()
            if dim not in REDUCED_DIMS and dim not in of_channels
        )

    def _store(self, place: Operand) -> None:
        (plane,) = self.program.placements[self.plan.result].planes
        shape = shape_of(self.plan.result)
        axes = [axis.over(plane, shape) for axis in self.tiles.result]
        strides = [axis.stride_bits for axis in axes if axis is not None]
        assert len(strides) == len(axes), "a plain result lies evenly along every axis of its tiles"
        first = zip(self.tiles.first, plane.strides_bits, strict=False)
        dst = self.program.dram(plane, strides, sum(index * bits for index, bits in first))
        if self.plan.gathered is None:
            self.program.store(self.dims, dst, place, grid=self.frame.grid)
        else:
            self.program.store([self.frame.chip_dim(axis) for axis in self.plan.gathered.axes], dst, place)

    def _next(self, *registers: int) -> None:
        """Moves slots that each iteration fills anew."""
        if self.levels:
            for register in registers:
                self.program.next(register)

    def _in_place(self, link: Operation, place: Operand) -> Operand:
        """One op on the accumulators, or where their results have been gathered; the place of its result."""
        if isinstance(link, lightnorm.InferOp):
            return self._norm(link, place)
        parameters: tuple[Operand, ...] = ()
        function = elementwise_function(link)
        if isinstance(link, nn.BatchNormOp):
            parameters = self._parameters(link)
            function = VectorFunction("batch_norm", (link.eps.value.data,))
        assert function is not None
        self._vector(function, place, parameters)
        return place

    def _vector(self, function: VectorFunction, place: Operand, parameters: tuple[Operand, ...] = ()) -> None:
        operands = (place, place, *parameters)
        self.program.vector(
            function.name, self.dims, operands, grid=self.frame.grid, immediates=function.immediates
        )

    def _norm(self, link: lightnorm.InferOp, place: Operand) -> Operand:
        result = place
        if self.plan.gathered is not None and self.plan.gathered_slot is not None:
            register = self.registers[self.plan.gathered_slot]
            self._next(register)
            strides = self.plan.gathered.strides_along(self.keys)
            result = Operand(register, Format.F32, Addressing.CHIP, strides)
        (table,) = self._parameters(link)
        operands = (result, place, *norm_rows(table, self._row_pitch(link)))
        axis = len(self.dims) - 1
        emit_norm(self.program, self.dims, axis, link.rounding.data, operands, grid=self.frame.grid)
        activation = fused_activation(link)
        if activation is not None:
            self._vector(activation, result)
        return result

    def _parameters(self, op: Operation) -> tuple[Operand, ...]:
        return tuple(
            Operand(
                self.registers[parameter.slot],
                Format.F32,
                Addressing.CHIP,
                parameter.tile.strides_along(self.keys),
            )
            for parameter in self.plan.parameters
            if parameter.op is op
        )

    def _row_pitch(self, op: Operation) -> int:
        (parameter,) = (one for one in self.plan.parameters if one.op is op)
        return parameter.tile.strides_along(("row",))[0]

    def _element_strides(self) -> tuple[int, ...]:
        """Strides of the flat index of an element along the axes of the result."""
        shape = shape_of(self.plan.result)
        strides = element_strides(shape)
        return tuple(
            axis.multiplier * next((strides[dim] for dim in reversed(axis.dims) if shape[dim] > 1), 1)
            for axis in self.tiles.result
        )
