"""Every field that means something to an opcode changes bytes, cycles or traffic when changed, or faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flexc.backends.stream import timing
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import (
    DIM_FIELDS,
    NO_SLOT,
    OPCODES,
    OPERAND_FIELDS,
    RECORD_FIELDS,
    FieldSpec,
    Opcode,
)
from flexc.backends.stream.program import Stream
from flexc.backends.stream.simulate import simulate
from flexc.backends.stream.timeline import Timeline
from flexc.target import load_target
from tests.stream_programs import ConvCase, conv_program

TARGET = load_target("flexblock-edge")
CASE = ConvCase(
    shape=(2, 24, 11, 4), outputs=16, k_tile=12, spread=12, o_tile=3, groups=(6, 4), result_group=3, kernel=2
)
DELTAS = (-1, 1, 100)
Change = Callable[[Any, int], None]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return conv_program(CASE).stream


def observe(stream: Stream) -> tuple[bytes, Timeline] | None:
    """All bytes that a stream makes, and its timing; None for a fault."""
    try:
        found = simulate(stream, {}, tensors=True)
        arrays = (*found.outputs.values(), *found.tensors.values())
        return b"".join(array.tobytes() for array in arrays), timing.simulate(stream, TARGET)
    except StreamFault:
        return None


def changes_of(fields: tuple[FieldSpec, ...], path: tuple[str | int, ...]) -> Iterator[tuple[str, Change]]:
    """For each entry of the fields of a part of a record: its name, and what adds to it."""
    for field in fields:
        # Addresses move by whole bytes: by part of one, every access faults.
        unit = 8 if field.unit == "bits" else 1
        for index in np.ndindex(field.shape):

            def change(
                record: Any, delta: int, name: str = field.name, index: Any = index, unit: int = unit
            ) -> None:
                part = record
                for step in path:
                    part = part[step]
                if index:
                    part[name][index] = part[name][index].item() + delta * unit
                else:
                    part[name] = part[name].item() + delta * unit

            yield ".".join(map(str, (*path, field.name, *index))), change


def fields_with_meaning(record: Any) -> Iterator[tuple[str, Change]]:
    """Every entry of a record that means something to its opcode."""
    spec = OPCODES[Opcode(int(record["opcode"]))]
    names = ("opcode", *spec.fields)
    yield from changes_of(tuple(field for field in RECORD_FIELDS if field.name in names), ())
    for d in range(int(record["used_dims"])):
        yield from changes_of(DIM_FIELDS, ("dim", d))
    for place in range(len(spec.operands)):
        if record["operand"][place]["slot"] != NO_SLOT:
            yield from changes_of(OPERAND_FIELDS, ("operand", place))


def means_nothing_here(record: Any, name: str) -> str:
    """Why a field cannot matter in this program, or the empty string."""
    opcode = Opcode(int(record["opcode"]))
    part, *rest = name.split(".")
    if part == "operand" and rest[1] == "stride":
        d = int(rest[2])
        if d >= int(record["used_dims"]):
            return "a fault of its own, tested with the checks of records"
        if record["dim"]["count"][d] == 1:
            return "a dimension of one element"
    if opcode is Opcode.COMPUTE and name in ("a_axis.0", "b_axis.0"):
        return "g is 0 throughout"
    if opcode is Opcode.LOAD and name == "immediate.0" and record["operand"]["slot"][0] == 12:
        return "biases past the last channel are loaded for cores that make no output"
    if opcode is Opcode.SLOT and name == "depth" and record["slot"] == 15:
        return "exponents are stored before the next are made, and one buffer would do"
    return ""


def is_seen(stream: Stream, base: object, index: int, change: Change) -> bool:
    """Whether changing an entry of a record shows, up or down or far out."""
    for delta in DELTAS:
        records = stream.records.copy()
        try:
            change(records[index], delta)
        except OverflowError:
            continue
        if observe(replace(stream, records=records)) != base:
            return True
    return False


def unseen(stream: Stream, indices: list[int]) -> list[str]:
    base = observe(stream)
    assert base is not None
    return [
        f"record {index}, {Opcode(int(record['opcode'])).name.lower()}: {name}"
        for index in indices
        for record in (stream.records[index],)
        for name, change in fields_with_meaning(record)
        if not means_nothing_here(record, name) and not is_seen(stream, base, index, change)
    ]


@pytest.mark.slow
def test_every_field_of_every_record(stream: Stream) -> None:
    assert unseen(stream, list(range(len(stream.records)))) == []


def test_every_field_of_a_compute_record(stream: Stream) -> None:
    assert unseen(stream, np.flatnonzero(stream.records["opcode"] == Opcode.COMPUTE).tolist()) == []


def test_a_field_that_nothing_reads_would_be_found(stream: Stream) -> None:
    base = observe(stream)
    index = int(np.argmax(stream.records["opcode"] == Opcode.CONVERT))

    def nothing(record: Any, delta: int) -> None:
        pass

    assert not is_seen(stream, base, index, nothing)
