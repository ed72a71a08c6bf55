"""An emitter that gets one field of one record wrong is noticed: by a fault, or by bytes that differ.

The classifier's stream is broken in one place at a time, as by an emitter that computes a stride, a start
or a count wrongly. Each change is made in the middle one of the records where it means something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from flexc.backends.agreement import DisagreementError
from flexc.backends.stream import emit
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import FORMAT_BITS, NO_LIMIT, Format, Opcode, Rounding
from flexc.backends.stream.isa_functions import FUNCTION_CODES
from flexc.backends.stream.program import Stream
from flexc.ir.program import Graph
from flexc.program import Program
from flexc.target import Target
from tests.end_to_end.classifier import compiled, images

Record = Any
"""One record of dtype ``isa.RECORD``, which is changed in place."""


@dataclass(frozen=True)
class Mistake:
    """``make`` changes a record of ``opcode`` and says whether it could; otherwise it leaves it alone."""

    opcode: Opcode
    make: Callable[[Record], bool]


def dims_inside(record: Record) -> list[int]:
    """Dimensions of more than one element whose box is wholly inside."""
    return [
        d
        for d in range(int(record["used_dims"]))
        if record["dim"][d]["count"] > 1
        and record["dim"][d]["start"] == 0
        and record["dim"][d]["count"] <= record["dim"][d]["limit"]
    ]


def one_stride(operand: int) -> Callable[[Record], bool]:
    """One dimension's stride is an element too large."""

    def make(record: Record) -> bool:
        changed = record["operand"][operand]
        element = max(8, FORMAT_BITS[Format(int(changed["format"]))])
        for d in dims_inside(record):
            if changed["stride"][d]:
                changed["stride"][d] += element
                return True
        return False

    return make


def one_offset(operand: int) -> Callable[[Record], bool]:
    """An operand starts an element too late."""

    def make(record: Record) -> bool:
        changed = record["operand"][operand]
        changed["offset"] += max(8, FORMAT_BITS[Format(int(changed["format"]))])
        return True

    return make


def a_start(record: Record) -> bool:
    """The box begins one element later."""
    for d in reversed(dims_inside(record)):
        record["dim"][d]["start"] += 1
        return True
    return False


def a_count(record: Record) -> bool:
    """The box is an element smaller."""
    for d in reversed(dims_inside(record)):
        if record["dim"][d]["limit"] != NO_LIMIT:
            record["dim"][d]["count"] -= 1
            return True
    return False


def a_core_step(record: Record) -> bool:
    """The cores' boxes lie an element too far apart."""
    for d in range(int(record["used_dims"])):
        for axis in np.flatnonzero(record["dim"][d]["core"]):
            if record["core_grid"][axis] > 1:
                record["dim"][d]["core"][axis] += 1
                return True
    return False


def a_loop_step(record: Record) -> bool:
    """A loop moves the box an element too far."""
    for d in range(int(record["used_dims"])):
        for level in np.flatnonzero(record["dim"][d]["loop"]):
            record["dim"][d]["loop"][level] += 1
            return True
    return False


def a_trip(record: Record) -> bool:
    """A loop ends an iteration early."""
    if record["count"] < 2:
        return False
    record["count"] -= 1
    return True


def a_group(record: Record) -> bool:
    """Groups have half the length."""
    if record["a_group"] < 2:
        return False
    record["a_group"] //= 2
    return True


def truncation(record: Record) -> bool:
    """Another rounding."""
    record["function"] = Rounding.TRUNCATE
    return True


def another_function(record: Record) -> bool:
    """A subtraction instead of an addition."""
    if record["function"] != FUNCTION_CODES["add"]:
        return False
    record["function"] = FUNCTION_CODES["sub"]
    return True


QUICK = {
    "start of a load": Mistake(Opcode.LOAD, a_start),
    "stride of a store": Mistake(Opcode.STORE, one_stride(0)),
    "rounding of a convert": Mistake(Opcode.CONVERT, truncation),
}
SLOW = {
    "source stride of a load": Mistake(Opcode.LOAD, one_stride(1)),
    "destination stride of a load": Mistake(Opcode.LOAD, one_stride(0)),
    "source offset of a load": Mistake(Opcode.LOAD, one_offset(1)),
    "core step of a load": Mistake(Opcode.LOAD, a_core_step),
    "loop step of a load": Mistake(Opcode.LOAD, a_loop_step),
    "count of a store": Mistake(Opcode.STORE, a_count),
    "start of a store": Mistake(Opcode.STORE, a_start),
    "core step of a store": Mistake(Opcode.STORE, a_core_step),
    "accumulator's stride": Mistake(Opcode.COMPUTE, one_stride(0)),
    "stride of a mantissa": Mistake(Opcode.COMPUTE, one_stride(1)),
    "offset of an exponent": Mistake(Opcode.COMPUTE, one_offset(2)),
    "count of a compute": Mistake(Opcode.COMPUTE, a_count),
    "group of a compute": Mistake(Opcode.COMPUTE, a_group),
    "group of a convert": Mistake(Opcode.CONVERT, a_group),
    "source offset of a convert": Mistake(Opcode.CONVERT, one_offset(2)),
    "rounding of a norm": Mistake(Opcode.NORM, truncation),
    "offset of a norm's scale": Mistake(Opcode.NORM, one_offset(3)),
    "function of a vector op": Mistake(Opcode.VECTOR, another_function),
    "stride of a vector op": Mistake(Opcode.VECTOR, one_stride(1)),
    "count of a vector op": Mistake(Opcode.VECTOR, a_count),
    "trips of a loop": Mistake(Opcode.LOOP, a_trip),
}


def broken(stream: Stream, mistake: Mistake) -> Stream:
    """The stream with the mistake in the middle one of the records where it can be made."""
    records: npt.NDArray[Any] = stream.records.copy()
    places = [
        index
        for index in np.flatnonzero(records["opcode"] == mistake.opcode)
        if mistake.make(records[index].copy())
    ]
    assert places, "no record to make the mistake in"
    assert mistake.make(records[places[len(places) // 2]])
    return replace(stream, records=records)


@pytest.fixture(scope="module")
def classifier() -> Program:
    return compiled(1, policy="FB16")


@pytest.mark.parametrize(
    "mistake",
    [
        *(pytest.param(mistake, id=name) for name, mistake in QUICK.items()),
        *(pytest.param(mistake, id=name, marks=pytest.mark.slow) for name, mistake in SLOW.items()),
    ],
)
def test_a_mistake_of_the_emitter_is_noticed(
    classifier: Program, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = emit.emit_stream

    def wrong(graph: Graph, target: Target) -> Stream:
        return broken(right(graph, target), mistake)

    monkeypatch.setattr(emit, "emit_stream", wrong)
    program = Program.of_graph(classifier.graph, classifier.source, classifier.options)
    with pytest.raises((DisagreementError, StreamFault)):
        program.run({"x": images(1)}, engine="both")


def test_without_a_mistake_the_engines_agree(classifier: Program) -> None:
    classifier.run({"x": images(1)}, engine="both")
