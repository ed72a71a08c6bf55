"""Programs of a few records: planes in DRAM, slots on chip, and what the records between them do."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import FORMAT_BITS, Addressing, Format, Opcode, Space
from flexc.backends.stream.program import Stream, Symbol, SymbolPlane
from flexc.backends.stream.record_builder import Dim, Operand, Record, RecordList
from flexc.backends.stream.simulate import simulate
from tests.stream_programs import MACHINE, Dram, declare, declare_plane

Array = NDArray[Any]
ONE_CORE = (1, 1, 1)


def row_major(shape: tuple[int, ...], bits: int) -> tuple[int, ...]:
    """Strides in bits of a dense row-major array whose packed last dimension fills up bytes."""
    row = -(-shape[-1] * bits // 8) * 8
    return (*(row * prod(shape[d + 1 : -1]) for d in range(len(shape) - 1)), bits)


def whole(shape: tuple[int, ...]) -> list[Dim]:
    """The box of a whole tensor."""
    return [Dim(extent, limit=extent) for extent in shape]


class Bench:
    """Records in the order of the calls; slots are numbered as they are declared."""

    def __init__(self) -> None:
        self.dram = Dram()
        self.records = RecordList()
        self.symbols: list[Symbol] = []
        self._slots = 0
        self._next_byte = dict.fromkeys(Space, 0)

    def plane(self, plane: SymbolPlane, *, keep: bool) -> Operand:
        """A plane of DRAM, declared."""
        self.records.append(declare_plane(self._slots, plane, keep=keep))
        self._slots += 1
        return Operand(self._slots - 1, plane.format, Addressing.GLOBAL, plane.stride_bits)

    def given(self, values: Array, fmt: Format) -> Operand:
        """Values in DRAM."""
        return self.plane(self.dram.filled(fmt, values, tuple(range(values.ndim))), keep=True)

    def result(self, name: str, shape: tuple[int, ...], fmt: Format) -> Operand:
        """An output in DRAM."""
        plane = self.dram.plane(fmt, shape, tuple(range(len(shape))))
        self.symbols.append(Symbol(name, "output", shape, (plane,)))
        return self.plane(plane, keep=False)

    def buffer(
        self,
        shape: tuple[int, ...],
        fmt: Format,
        *,
        space: Space = Space.OPERAND,
        local: bool = False,
        depth: int = 1,
    ) -> Operand:
        """A buffer on chip for a dense tensor: striped, or one in each core."""
        strides = row_major(shape, FORMAT_BITS[fmt])
        size = -(-strides[0] * shape[0] // 8) if len(shape) > 1 else -(-shape[0] * FORMAT_BITS[fmt] // 8)
        address = self._next_byte[space]
        self._next_byte[space] += size * depth
        self.records.append(declare(self._slots, space, address, size, depth=depth, per_core=local))
        self._slots += 1
        addressing = Addressing.LOCAL if local else Addressing.CHIP
        return Operand(self._slots - 1, fmt, addressing, strides)

    def load(
        self,
        dst: Operand,
        src: Operand,
        dims: list[Dim],
        grid: tuple[int, ...] = ONE_CORE,
        **more: Any,
    ) -> None:
        """A load record."""
        self.records.append(Record(Opcode.LOAD, dims=dims, operands=(dst, src), core_grid=grid, **more))

    def store(self, dst: Operand, src: Operand, dims: list[Dim], grid: tuple[int, ...] = ONE_CORE) -> None:
        """A store record."""
        self.records.append(Record(Opcode.STORE, dims=dims, operands=(dst, src), core_grid=grid))

    def loaded(self, values: Array, fmt: Format, **more: Any) -> Operand:
        """Values on chip: in DRAM first, then loaded whole."""
        given = self.given(values, fmt)
        buffer = self.buffer(values.shape, fmt, **more)
        self.load(buffer, given, whole(values.shape))
        return buffer

    def next(self, operand: Operand) -> None:
        """A next record."""
        self.records.append(Record(Opcode.NEXT, slot=operand.slot))

    def stream(self) -> Stream:
        """The program so far, ended by halt."""
        records = RecordList(bytearray(self.records.packed))
        end = len(records)
        records.append(Record(Opcode.HALT))
        symbols = tuple(
            Symbol(symbol.name, symbol.kind, symbol.shape, symbol.planes, end) for symbol in self.symbols
        )
        return Stream(records.array(), symbols, tuple(self.dram.initial), MACHINE, ())

    def run(self) -> dict[str, Array]:
        """The outputs."""
        return simulate(self.stream(), {}).outputs


def split(shape: tuple[int, ...], axis: int, cores: int, core_axis: int) -> list[Dim]:
    """The box of a whole tensor, one dimension in blocks over the cores of a core axis, the last one cut."""
    block = -(-shape[axis] // cores)
    core = tuple(block if a == core_axis else 0 for a in range(3))
    return [
        Dim(block, limit=extent, core=core) if d == axis else Dim(extent, limit=extent)
        for d, extent in enumerate(shape)
    ]


def normal(*shape: int, seed: int = 0, spread: int = 0) -> NDArray[np.float32]:
    """Normal samples; with ``spread``, scaled by random powers of two up to 2^spread either way."""
    rng = np.random.default_rng(seed)
    scale = np.ldexp(1.0, rng.integers(-spread, spread + 1, shape))
    return (rng.standard_normal(shape) * scale).astype(np.float32)
