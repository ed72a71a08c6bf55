"""`flexc trace` in the schema of the viewer that it is for: every event has a place, and is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flexc
from flexc.analysis.trace import trace_of
from flexc.backends.stream.isa import ENGINES
from flexc.program import Program
from flexc.target import load_target
from tests.inspected_model import residual_model
from tests.marked_up_model import MARK, marked_up_model
from tests.onnx_models import save

pytest.importorskip("perfetto")

from tests.perfetto_trace import Slice, nanoseconds, read_perfetto, to_perfetto

pytestmark = pytest.mark.perfetto
TARGET = load_target("flexblock")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return flexc.compile(save(residual_model(), tmp_path_factory.mktemp("perfetto")))


def trace(program: Program, max_events: int = 100_000, clock_mhz: float = 500.0) -> dict[str, Any]:
    target = replace(TARGET, clock_mhz=clock_mhz)
    found = trace_of(program.schedule, program.stream, target, max_events)
    document: dict[str, Any] = json.loads(found.to_json())
    return document


@pytest.mark.parametrize("clock_mhz", [500.0, 700.0, 3000.0])
@pytest.mark.parametrize("max_events", [100_000, 90])
def test_every_event_is_read_back(program: Program, max_events: int, clock_mhz: float) -> None:
    document = trace(program, max_events, clock_mhz)
    found = read_perfetto(to_perfetto(document))
    assert found.process == "flexblock, all rates assumed"
    assert found.rows == {tid: (engine, tid) for tid, engine in enumerate(ENGINES)}
    slices = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert sum(map(len, found.slices.values())) == len(slices) > 0
    for tid, own in found.slices.items():
        assert own == [
            Slice(
                nanoseconds(event["ts"]),
                nanoseconds(event["ts"] + event["dur"]),
                event["name"],
                event["cat"],
                event["args"],
            )
            for event in slices
            if event["tid"] == tid
        ]
    samples = [event for event in document["traceEvents"] if event["ph"] == "C"]
    assert sum(map(len, found.counters.values())) == len(samples)
    assert set(found.counters) == {
        *(f"{space} buffer of a core, peak_bytes" for space in ("operand", "held", "psum")),
        *(f"DRAM {way}, mean_gb_per_s" for way in ("read", "write")),
    }


def test_names_with_markup_are_read_back(tmp_path: Path) -> None:
    document = trace(flexc.compile(save(marked_up_model(), tmp_path)))
    found = read_perfetto(to_perfetto(document))
    assert f"first{MARK} (forward)" in {each.name for own in found.slices.values() for each in own}


def _first_slice(**changes: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        next(event for event in document["traceEvents"] if event["ph"] == "X").update(changes)

    return change


def _drop_rows(document: dict[str, Any]) -> None:
    document["traceEvents"] = [event for event in document["traceEvents"] if event["ph"] != "M"]


def _first_counter(document: dict[str, Any]) -> None:
    next(event for event in document["traceEvents"] if event["ph"] == "C")["args"] = {"peak_bytes": "1"}


@pytest.mark.parametrize(
    "damage",
    [
        _first_slice(ts=-1.0),
        _first_slice(ts=0.0001),
        _first_slice(ts=None),
        _first_slice(dur=1e6),
        _first_slice(dur=-1),
        _first_slice(name=7),
        _first_slice(args={"group": 1.5}),
        _first_slice(tid=99),
        _drop_rows,
        _first_counter,
    ],
)
def test_what_the_schema_does_not_hold_is_found(
    program: Program, damage: Callable[[dict[str, Any]], None]
) -> None:
    document = trace(program)
    damage(document)
    with pytest.raises((TypeError, ValueError)):
        read_perfetto(to_perfetto(document))
