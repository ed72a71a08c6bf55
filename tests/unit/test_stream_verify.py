"""Records and programs that mean nothing stop the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import Addressing, Format, Opcode, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.program import Stream
from flexc.backends.stream.record_builder import Record
from flexc.backends.stream.simulate import simulate
from tests.stream_bench import Bench
from tests.stream_programs import ConvCase, conv_program, declare

Edit = Callable[[Any], None]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return conv_program(ConvCase()).stream


def setting(path: str, value: float) -> Edit:
    """Sets ``name``, ``name.index``, ``dim.d.name...`` or ``operand.o.name...`` of a record."""

    def edit(record: Any) -> None:
        *steps, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
        part = record
        for step in steps:
            part = part[step]
        part[last] = value

    return edit


@pytest.mark.parametrize(
    ("opcode", "path", "value", "message"),
    [
        (Opcode.LOAD, "opcode", 77, "77: an opcode that does not exist"),
        (Opcode.LOAD, "seed", 1, "field seed means nothing here"),
        (Opcode.NEXT, "used_dims", 1, "field used_dims means nothing here"),
        (Opcode.LOAD, "used_dims", 9, "more than 8 dimensions"),
        (Opcode.LOAD, "dim.5.limit", 1, "beyond used_dims"),
        (Opcode.LOAD, "dim.0.count", 0, "no elements"),
        (Opcode.LOAD, "dim.0.step", 0, "step zero"),
        (Opcode.LOAD, "dim.0.limit", 0, "without an inside"),
        (Opcode.LOAD, "dim.0.loop.4", 1, "loop that is not there"),
        (Opcode.LOAD, "dim.0.core.0", 1, "core axis of one core"),
        (Opcode.LOAD, "core_grid.1", 0, "core axis without cores"),
        (Opcode.LOAD, "core_grid.0", 2, "more cores than the machine's 4"),
        (Opcode.LOAD, "operand.2.slot", 1, "operand that the opcode does not have"),
        (Opcode.LOAD, "operand.3.offset", 8, "without a slot is not zero"),
        (Opcode.LOAD, "operand.0.format", 9, "a format that does not exist"),
        (Opcode.LOAD, "operand.0.addressing", 3, "an addressing that does not exist"),
        (Opcode.LOAD, "operand.0.stride.7", 8, "a stride of a dimension that is not used"),
        (Opcode.LOAD, "operand.0.slot", 0xFFFF, "is not zero otherwise"),
        (Opcode.LOAD, "operand.1.format", Format.E8, "copies E8 to F32"),
        (Opcode.LOAD, "operand.1.addressing", Addressing.CHIP, "operand src: has chip addresses"),
        (Opcode.LOAD, "operand.0.addressing", Addressing.GLOBAL, "operand dst: has global addresses"),
        (Opcode.LOAD, "immediate.1", 1.0, "a second immediate"),
        (Opcode.STORE, "operand.0.format", Format.E8, "copies F32 to E8"),
        (Opcode.VECTOR, "dim.0.step", 2, "a step other than 1 without DRAM"),
        (Opcode.VECTOR, "function", 200, "a function that does not exist"),
        (Opcode.VECTOR, "reduced_dims", 1, "add reduces nothing"),
        (Opcode.VECTOR, "function", FUNCTION_CODES["softmax"], "softmax over 0 dimensions"),
        (Opcode.VECTOR, "function", FUNCTION_CODES["relu"], "operand y: relu has 1 sources"),
        (Opcode.VECTOR, "function", FUNCTION_CODES["where"], "operand z: is missing"),
        (Opcode.VECTOR, "immediate.0", 1.0, "an immediate that add has not"),
        (Opcode.VECTOR, "operand.1.format", Format.M8, "operand x: is in format M8"),
        (Opcode.CONVERT, "function", 3, "a rounding that does not exist"),
        (Opcode.CONVERT, "axis", 4, "an axis that is not there"),
        (Opcode.CONVERT, "a_group", 0, "a group of no elements"),
        (Opcode.CONVERT, "seed", 1, "a seed without stochastic rounding"),
        (Opcode.CONVERT, "operand.3.stride.0", 1, "operand position: means nothing"),
        (Opcode.CONVERT, "operand.3.slot", 9, "operand position: has a slot"),
        (Opcode.COMPUTE, "used_dims", 7, "beyond used_dims"),
        (Opcode.COMPUTE, "init_loops", 8, "init_loops names a loop"),
        (Opcode.COMPUTE, "operand.0.stride.5", 32, "operand acc: moves along k"),
        (Opcode.COMPUTE, "operand.1.stride.4", 8, "operand a: moves along o"),
        (Opcode.COMPUTE, "operand.3.stride.1", 8, "operand b: moves along n"),
        (Opcode.COMPUTE, "operand.1.format", Format.F32, "multiplies F32 by M8"),
        (Opcode.COMPUTE, "operand.1.format", Format.M16, "the wider operand streams"),
        (Opcode.COMPUTE, "operand.2.format", Format.M8, "operand a_exponent: is in format M8"),
        (Opcode.COMPUTE, "whole_axis.0", 2, "neither 0 nor 1"),
        (Opcode.COMPUTE, "b_group", 0, "a group of no elements"),
        (Opcode.COMPUTE, "stream", 2, "streamed operand that does not exist"),
        (Opcode.COMPUTE, "lane.1", 13, "13 lanes of 12"),
        (Opcode.COMPUTE, "lane.1", 0, "0 lanes of 12"),
        (Opcode.COMPUTE, "lane.0", 8, "a lane or unit dimension"),
        (Opcode.COMPUTE, "unit.1", 3, "3 units of 2"),
        (Opcode.COMPUTE, "unit.0", 5, "a lane or unit dimension"),
        (Opcode.COMPUTE, "pe.0.2", 2, "a factor of 2 PEs"),
        (Opcode.COMPUTE, "pe.0.2", 9, "27 PEs of 9"),
        (Opcode.COMPUTE, "pe.0.2", 0, "a use of no PEs"),
        (Opcode.COMPUTE, "pe.0.0", 3, "a use of PEs that does not exist"),
        (Opcode.COMPUTE, "pe.0.1", 2, "PEs reduce outputs"),
        (Opcode.COMPUTE, "pe.1.1", 6, "PEs reduce outputs"),
        (Opcode.SLOT, "space", 4, "a space that does not exist"),
        (Opcode.SLOT, "depth", 0, "a slot of no bytes"),
        (Opcode.SLOT, "depth", 2, "a ring in DRAM"),
        (Opcode.SLOT, "per_core", 1, "no DRAM of their own"),
        (Opcode.SLOT, "keep", 2, "neither 0 nor 1"),
        (Opcode.SLOT, "slot", 0xFFFF, "the register that stands for none"),
        (Opcode.NEXT, "slot", 0xFFFF, "the register that stands for none"),
        (Opcode.LOOP, "count", 0, "a loop of no iterations"),
    ],
)
def test_records_that_mean_nothing(
    stream: Stream, opcode: Opcode, path: str, value: float, message: str
) -> None:
    records = stream.records.copy()
    index = int(np.argmax(records["opcode"] == opcode))
    setting(path, value)(records[index])
    with pytest.raises(StreamFault, match=message) as caught:
        simulate(replace(stream, records=records), {})
    assert caught.value.record == index


def test_output_lanes_are_four_at_most(stream: Stream) -> None:
    records = stream.records.copy()
    index = int(np.argmax(records["opcode"] == Opcode.COMPUTE))
    records[index]["lane"] = (0, 5)
    with pytest.raises(StreamFault, match="5 lanes of 4"):
        simulate(replace(stream, records=records), {})


def slot_of(**fields: Any) -> Record:
    return replace(declare(0, Space.OPERAND, 0, 64), **fields)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "does not end with halt"),
        ([Record(Opcode.LOOP, count=1), Record(Opcode.END)], "does not end with halt"),
        ([Record(Opcode.HALT), Record(Opcode.HALT)], "record 0, halt: halt before the end"),
        ([Record(Opcode.LOOP, count=1), Record(Opcode.HALT)], "a loop without its end"),
        ([Record(Opcode.END), Record(Opcode.HALT)], "record 0, end: end without a loop"),
        ([Record(Opcode.LOOP, count=1)] * 7 + [Record(Opcode.END)] * 7 + [Record(Opcode.HALT)], "nested"),
        (
            [Record(Opcode.LOOP, count=1), slot_of(), Record(Opcode.END), Record(Opcode.HALT)],
            "record 1, slot: stands in a loop",
        ),
        ([slot_of(keep=1), Record(Opcode.HALT)], "only DRAM is kept"),
        ([slot_of(size_bytes=1 << 18), Record(Opcode.HALT)], "ends at byte 65536 of OPERAND, which has 327"),
        ([slot_of(address_bytes=32768), Record(Opcode.HALT)], "ends at byte 32784"),
        ([slot_of(space=0, size_bytes=1 << 21), Record(Opcode.HALT)], "of DRAM, which has"),
        ([Record(Opcode.NEXT, slot=3), Record(Opcode.HALT)], "record 0, next: slot 3 is not declared"),
    ],
)
def test_programs_that_are_not_legal(records: list[Record], message: str) -> None:
    bench = Bench()
    stream = bench.stream()
    for record in records:
        bench.records.append(record)
    with pytest.raises(StreamFault, match=message):
        simulate(replace(stream, records=bench.records.array()), {})
