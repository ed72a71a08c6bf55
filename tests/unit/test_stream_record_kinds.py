"""Records are of one kind where they differ only in what neither checks nor costs depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flexc.backends.stream import record_kinds as kinds_module
from flexc.backends.stream.isa import NO_SLOT, Addressing, Format, Opcode, Space
from flexc.backends.stream.loops import loop_ranges
from flexc.backends.stream.record_builder import Dim, Operand, Record, RecordList
from flexc.backends.stream.record_kinds import RecordKinds, record_kinds
from tests.stream_programs import declare

LOAD = Record(
    Opcode.LOAD,
    dims=[Dim(4, limit=9)],
    operands=(
        Operand(3, Format.M8, Addressing.CHIP, (8,), offset=64),
        Operand(4, Format.M8, Addressing.CHIP, (8,), offset=8),
    ),
    core_grid=(1, 1, 1),
)
SLOT = declare(3, Space.HELD, 64, 32)


def kinds_of(*records: Record) -> RecordKinds:
    listed = RecordList()
    for record in (*records, Record(Opcode.HALT)):
        listed.append(record)
    array = listed.array()
    return record_kinds(array, loop_ranges(array))


def with_operand(**changes: Any) -> Record:
    first, second = LOAD.operands
    assert first is not None
    return replace(LOAD, operands=(replace(first, **changes), second))


@pytest.mark.parametrize(
    "other",
    [with_operand(slot=7), with_operand(offset=8), replace(LOAD, operands=LOAD.operands[::-1])],
)
def test_places_do_not_matter(other: Record) -> None:
    kinds = kinds_of(SLOT, LOAD, other, LOAD)
    assert kinds.kind.tolist() == [0, 1, 1, 1, 2]
    assert kinds.first.tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    "other",
    [
        with_operand(slot=NO_SLOT),
        with_operand(offset=0),
        with_operand(stride=(16,)),
        replace(LOAD, dims=[Dim(4, limit=10)]),
        replace(LOAD, immediate=(1.0,)),
        replace(LOAD, slot=5),
        replace(LOAD, address_bytes=5),
        replace(LOAD, opcode=Opcode.STORE),
    ],
)
def test_everything_else_does(other: Record) -> None:
    assert kinds_of(LOAD, other).kind.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(SLOT, slot=9, address_bytes=1 << 40, size_bytes=1), True),
        (replace(SLOT, slot=0), False),
        (replace(SLOT, slot=NO_SLOT), False),
        (replace(SLOT, address_bytes=0), False),
        (replace(SLOT, size_bytes=0), False),
        (replace(SLOT, depth=2), False),
        # Dimensions and operands that it may not have.
        (replace(SLOT, dims=[Dim(1, limit=1)]), False),
        (replace(SLOT, operands=(Operand(1, Format.F32, Addressing.LOCAL, ()),)), False),
    ],
)
def test_slots(other: Record, same: bool) -> None:
    assert (kinds_of(SLOT, other).kind.tolist() == [0, 0, 1]) is same


def test_loops_around_matter() -> None:
    def loop(count: int) -> Record:
        return Record(Opcode.LOOP, count=count)

    end = Record(Opcode.END)
    kinds = kinds_of(LOAD, loop(2), LOAD, end, loop(3), LOAD, end, loop(1), LOAD, end, loop(2), LOAD, end)
    loads = [0, 2, 5, 8, 11]
    assert len(set(kinds.kind[loads[:4]].tolist())) == 4
    assert kinds.kind[11] == kinds.kind[2]
    assert kinds.trips[kinds.kind[loads], 0].tolist() == [0, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("records", "unseen"),
    [
        ((LOAD, replace(LOAD, axis=1)), slice(0, 1)),
        ((LOAD, replace(LOAD, dims=[Dim(9, limit=4)])), slice(-kinds_module.BODY_WORDS, None)),
        ((SLOT, replace(SLOT, operands=LOAD.operands)), slice(-kinds_module.BODY_WORDS, None)),
    ],
)
def test_different_records_of_one_digest(
    monkeypatch: pytest.MonkeyPatch, records: tuple[Record, Record], unseen: slice
) -> None:
    factors = kinds_module._FACTORS.copy()
    factors[unseen] = 0
    monkeypatch.setattr(kinds_module, "_FACTORS", factors)
    assert kinds_of(*records, records[0]).kind.tolist() == [0, 1, 2, 3]
