"""The fast timing simulation finds what the plain one does, execution by execution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from flexc.backends.stream import slot_rings, timing, timing_reference
from flexc.backends.stream.isa import LOOP_LEVELS, Addressing, Engine, Format, Opcode, Space
from flexc.backends.stream.program import GroupRange, Stream
from flexc.backends.stream.record_builder import Dim, Operand, Record
from flexc.backends.stream.timeline import Observer, Timeline
from flexc.target import Target, load_target
from tests.stream_bench import Bench, normal
from tests.stream_programs import MACHINE, ConvCase, conv_program, declare

TARGET = load_target("flexblock-edge")
MEMORY_BYTES = 16


def watched(
    simulate: Callable[[Stream, Target, Observer], Timeline], stream: Stream
) -> tuple[Timeline, list[tuple[int, Engine, int, int, int]]]:
    """What a simulation finds, and what it tells an observer."""
    told: list[tuple[int, Engine, int, int, int]] = []

    def observe(record: int, engine: Engine, start: int, end: int, moved_bytes: int) -> None:
        told.append((record, engine, start, end, moved_bytes))

    return simulate(stream, TARGET, observe), told


def assert_same(stream: Stream) -> None:
    found = watched(timing.simulate, stream)
    assert found == watched(timing_reference.simulate, stream)
    assert timing.simulate(stream, TARGET) == found[0]


@pytest.mark.parametrize(
    "case",
    [
        ConvCase(),
        ConvCase(shape=(1, 24, 11, 4), outputs=16, k_tile=12, o_tile=3, groups=(6, 4), kernel=2),
        ConvCase(shape=(1, 8, 9, 9), stride=2, pad=0, p_tile=3),
    ],
)
def test_convolutions(case: ConvCase) -> None:
    stream = conv_program(case).stream
    loop = int(np.argmax(stream.records["opcode"] == Opcode.LOOP))
    end = len(stream.records) - 1
    for groups in (
        (),
        (GroupRange(0, "a", 2, loop), GroupRange(1, "b", loop, end)),
        (GroupRange(0, "a", 0, end),),
    ):
        assert_same(replace(stream, groups=groups))


class RandomProgram:
    """Slots that take over each other's memory, and work in loops on those that are left."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.bench = Bench()
        self.source = self.bench.given(normal(64), Format.F32)
        self.live: dict[int, tuple[int, int]] = {}
        """By register, the range of memory."""

    def declare(self) -> None:
        depth = self.random.randint(1, 3)
        size = self.random.choice([4, 8, 16])
        taken = depth * -(-size // MACHINE.cores)
        first = self.random.randint(0, MEMORY_BYTES - taken)
        for register, (low, high) in list(self.live.items()):
            if low < first + taken and first < high:
                del self.live[register]
        register = self.random.choice([one for one in range(100, 110) if one not in self.live])
        self.live[register] = (first, first + taken)
        self.bench.records.append(declare(register, Space.OPERAND, first, size, depth=depth))

    def operand(self) -> Operand:
        return replace(self.source, slot=self.random.choice(sorted(self.live)), addressing=Addressing.CHIP)

    def work(self, depth: int) -> None:
        kind = self.random.choice(("load", "store", "vector", "next", "loop"))
        loops = [self.random.choice([0, 7]) if level < depth else 0 for level in range(LOOP_LEVELS)]
        dims = [Dim(self.random.randint(1, 40), limit=45, loop=tuple(loops))]
        if kind == "load":
            self.bench.load(self.operand(), self.source, dims)
        elif kind == "store":
            self.bench.store(self.source, self.operand(), dims)
        elif kind == "next":
            self.bench.next(self.operand())
        elif kind == "vector":
            operands = (self.operand(), self.operand(), self.operand())
            self.bench.records.append(
                Record(Opcode.VECTOR, dims=dims, operands=operands, function=1, core_grid=(1, 1, 1))
            )
        elif depth < 2:
            self.bench.records.append(Record(Opcode.LOOP, count=self.random.randint(1, 3)))
            for _ in range(self.random.randint(1, 4)):
                self.work(depth + 1)
            self.bench.records.append(Record(Opcode.END))


@pytest.mark.parametrize("seed", range(30))
def test_memory_that_changes_hands(seed: int) -> None:
    program = RandomProgram(seed)
    for _ in range(12):
        program.declare()
        for _ in range(program.random.randint(0, 3)):
            program.work(0)
    assert_same(program.bench.stream())


def test_memory_in_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_rings, "MOST_PAIRS", 1)
    test_memory_that_changes_hands(seed=3)


def test_a_loop_of_one_iteration_around_another() -> None:
    program = RandomProgram(0)
    program.declare()
    operand = program.operand()
    for count in (1, 3):
        program.bench.records.append(Record(Opcode.LOOP, count=count))
    program.bench.load(operand, program.source, [Dim(8, limit=20, loop=(0, 7, 0, 0, 0, 0))])
    for _ in range(2):
        program.bench.records.append(Record(Opcode.END))
    assert_same(program.bench.stream())


def test_a_register_that_is_declared_later() -> None:
    program = RandomProgram(0)
    early = replace(program.source, slot=50, addressing=Addressing.CHIP)
    box = [Dim(8, limit=64)]
    program.bench.load(early, program.source, box)
    program.bench.store(program.source, early, box)
    program.bench.records.append(declare(50, Space.OPERAND, 0, 8))
    program.bench.load(early, program.source, box)
    assert_same(program.bench.stream())


def test_a_program_of_nothing() -> None:
    assert_same(Bench().stream())
