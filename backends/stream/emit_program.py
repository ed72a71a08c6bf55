"""The program under construction: slots, loops, records, and the boxes of tiles inside the loops."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from flexc.backends.stream.isa import CORE_AXES, LOOP_LEVELS, Addressing, Format, Opcode, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.record_builder import Dim, Operand, Record, RecordList
from flexc.ir.placement import Placement, Plane, PlaneFormat
from flexc.passes.scheduling.buffer_slots import BufferName, BufferSlot
from flexc.passes.scheduling.tile_boxes import TileAxis

FORMATS: dict[PlaneFormat, Format] = {
    "f32": Format.F32,
    "m4": Format.M4,
    "m8": Format.M8,
    "m16": Format.M16,
    "e8": Format.E8,
    "fp10": Format.FP10,
    "i64": Format.I64,
    "i32": Format.I32,
    "i1": Format.I1,
}
SPACES: dict[BufferName, Space] = {"operand": Space.OPERAND, "held": Space.HELD, "psum": Space.PSUM}
ONE_CORE = (1,) * CORE_AXES
INT32 = range(-(1 << 31), 1 << 31)


def on_chip_format(plane: Plane) -> Format:
    """The format a plane's elements have in a slot: codes of ten bits are loaded as fp32."""
    return Format.F32 if plane.format == "fp10" else FORMATS[plane.format]


@dataclass(frozen=True)
class Frame:
    """Loop levels and core axes of the loop dimensions of one tile program."""

    levels: Mapping[Hashable, int]
    cores: Mapping[Hashable, int] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, ...]:
        """Cores along each core axis."""
        return (*self.cores.values(), *ONE_CORE)[:CORE_AXES]

    def dim(self, axis: TileAxis) -> Dim:
        """The dimension of a box that each core has one of."""
        loop, core = [0] * LOOP_LEVELS, [0] * CORE_AXES
        for dim, more in axis.advance.items():
            if dim in self.levels:
                loop[self.levels[dim]] += more * self.cores.get(dim, 1)
            if dim in self.cores:
                core[list(self.cores).index(dim)] += more
        return Dim(axis.count, axis.start, axis.step, axis.limit, tuple(loop), tuple(core))

    def chip_dim(self, axis: TileAxis) -> Dim:
        """The dimension of a box of all cores together (the axis already being that of all)."""
        loop = [0] * LOOP_LEVELS
        for dim, more in axis.advance.items():
            if dim in self.levels:
                loop[self.levels[dim]] += more
        return Dim(axis.count, axis.start, axis.step, axis.limit, tuple(loop))


@dataclass
class Program:
    """Records so far, the slot registers in use, and where values are in DRAM."""

    placements: Mapping[SSAValue, Placement]
    tables: Mapping[Operation, Placement]
    records: RecordList = field(default_factory=RecordList)
    registers: int = 0
    planes: dict[int, int] = field(default_factory=dict)
    """Register of the DRAM slot at an address."""

    def new_register(self) -> int:
        """A slot register that nothing uses."""
        self.registers += 1
        return self.registers - 1

    def declare(self, slot: BufferSlot) -> int:
        """Declares an on-chip slot and returns its register."""
        register = self.new_register()
        self.records.append(
            Record(
                Opcode.SLOT,
                slot=register,
                space=SPACES[slot.buffer],
                per_core=int(slot.per_core),
                depth=slot.depth,
                address_bytes=slot.address_bytes,
                size_bytes=slot.size_bytes,
            )
        )
        return register

    def declare_planes(self, placement: Placement, *, keep: bool) -> None:
        """Declares the DRAM slots of a value: ``keep`` where it is there from the start."""
        for plane in placement.planes:
            assert plane.address_bytes is not None
            register = self.new_register()
            self.planes[plane.address_bytes] = register
            self.records.append(
                Record(
                    Opcode.SLOT,
                    slot=register,
                    space=Space.DRAM,
                    keep=int(keep),
                    depth=1,
                    address_bytes=plane.address_bytes,
                    size_bytes=plane.size_bytes,
                )
            )

    def dram(self, plane: Plane, strides: Iterable[int], offset_bits: int = 0) -> Operand:
        """A DRAM operand walked by coordinates, one stride a dimension of the box."""
        assert plane.address_bytes is not None
        register = self.planes[plane.address_bytes]
        return Operand(register, FORMATS[plane.format], Addressing.GLOBAL, tuple(strides), offset_bits)

    def next(self, register: int) -> None:
        """Moves a slot to its next buffer."""
        self.records.append(Record(Opcode.NEXT, slot=register))

    @contextmanager
    def loop(self, count: int) -> Iterator[None]:
        """The records made inside are repeated."""
        self.records.append(Record(Opcode.LOOP, count=count))
        yield
        self.records.append(Record(Opcode.END))

    def load(
        self,
        dims: Sequence[Dim],
        dst: Operand,
        src: Operand,
        *,
        grid: tuple[int, ...] = ONE_CORE,
        fill: float = 0.0,
    ) -> None:
        """Copies a box from DRAM."""
        self.records.append(Record(Opcode.LOAD, dims, (dst, src), core_grid=grid, immediate=(fill,)))

    def store(
        self, dims: Sequence[Dim], dst: Operand, src: Operand, *, grid: tuple[int, ...] = ONE_CORE
    ) -> None:
        """Copies the inside of a box to DRAM."""
        self.records.append(Record(Opcode.STORE, dims, (dst, src), core_grid=grid))

    def vector(
        self,
        function: str,
        dims: Sequence[Dim],
        operands: Sequence[Operand],
        *,
        grid: tuple[int, ...] = ONE_CORE,
        immediates: tuple[float, ...] = (),
        reduced_dims: int = 0,
    ) -> None:
        """A function of the vector unit."""
        self.records.append(
            Record(
                Opcode.VECTOR,
                dims,
                operands,
                function=FUNCTION_CODES[function],
                core_grid=grid,
                immediate=immediates,
                reduced_dims=reduced_dims,
            )
        )
