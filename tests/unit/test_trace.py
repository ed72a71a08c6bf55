"""`flexc trace`: the format, what the slices and counters add up to, the bound on the size, equal bytes."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import flexc
from flexc.analysis.activity_counters import bytes_per_cycle, peak_occupancy, stretch_edges
from flexc.analysis.trace import trace_of
from flexc.backends.stream.activity import Executions, Holdings, activity_of
from flexc.backends.stream.isa import ENGINES, Space
from flexc.backends.stream.timing import simulate
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.program import Program
from flexc.target import load_target
from tests.chrome_trace import trace_violations
from tests.inspected_model import residual_model
from tests.onnx_models import save

TARGET = load_target("flexblock")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trace")
    flexc.compile(save(residual_model(), folder), output=folder / "a")
    return folder / "a"


@pytest.fixture(scope="module")
def program(folder: Path) -> Program:
    return flexc.load(folder)


def trace(program: Program, max_events: int, clock_mhz: float = 500.0) -> dict[str, Any]:
    target = replace(TARGET, clock_mhz=clock_mhz)
    found = trace_of(program.schedule, program.stream, target, max_events)
    assert len(found.events) <= max_events
    document: dict[str, Any] = json.loads(found.to_json())
    assert document["otherData"]["slices"] == found.note
    return document


def slices(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in document["traceEvents"] if event["ph"] == "X"]


@pytest.mark.parametrize("clock_mhz", [500.0, 700.0, 3000.0])
@pytest.mark.parametrize("max_events", [100_000, 90])
def test_the_trace_is_what_the_format_documents(program: Program, max_events: int, clock_mhz: float) -> None:
    assert trace_violations(trace(program, max_events, clock_mhz)) == []


@pytest.mark.parametrize("max_events", [100_000, 140, 90])
def test_slices_add_up_to_the_schedule(program: Program, max_events: int) -> None:
    schedule = program.schedule
    found = slices(trace(program, max_events))
    for tid, engine in enumerate(ENGINES):
        own = [event for event in found if event["tid"] == tid]
        assert sum(event["args"]["busy_cycles"] for event in own) == schedule.busy_cycles[engine]
        for group in schedule.groups:
            part = [event for event in own if event["args"]["group"] == group.index]
            assert bool(part) == (engine in group.engines)
            if part:
                use = group.engines[engine]
                assert part[0]["args"]["start_cycle"] == use.start_cycle
                assert part[-1]["ts"] + part[-1]["dur"] == pytest.approx(use.end_cycle / 500)
    assert sum(event["args"]["executions"] for event in found) == schedule.instructions
    moved = sum(event["args"]["dram_bytes"] for event in found)
    assert moved == schedule.read_bytes + schedule.written_bytes
    assert {event["name"] for event in found} >= {
        "block.conv1 (convert)",
        "block.conv1 (forward)",
        "fc (forward)",
    }


def test_a_small_trace_says_what_it_merged(program: Program) -> None:
    whole, small = trace(program, 100_000), trace(program, 90)
    assert whole["otherData"]["slices"] == "every one of 109 executions is a slice"
    assert len(slices(whole)) == 109
    assert small["otherData"]["slices"].startswith(f"109 executions are {len(slices(small))} slices: up to ")
    assert max(event["args"]["executions"] for event in slices(small)) > 1


def test_a_bound_below_a_slice_an_engine_and_group_is_refused(program: Program) -> None:
    with pytest.raises(CompileError, match="FX554") as failure:
        trace(program, 30)
    hint = failure.value.diagnostics[0].hint
    least = int(hint.split()[1].replace(",", ""))
    assert trace_violations(trace(program, least)) == []


def test_equal_bytes_from_the_command(folder: Path, tmp_path: Path) -> None:
    written = []
    for name in ("one.json.gz", "other.json.gz"):
        result = CliRunner().invoke(main, ["trace", str(folder), "-o", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert "every one of 109 executions is a slice" in result.stdout
    document = json.loads(gzip.decompress(written[0]))
    assert document["otherData"]["assumed"] == "every rate, size and energy of the target"
    plain = CliRunner().invoke(main, ["trace", str(folder), "-o", str(tmp_path / "plain.json")])
    assert plain.exit_code == 0
    assert json.loads((tmp_path / "plain.json").read_text()) == document


def test_watching_changes_nothing(program: Program) -> None:
    assert activity_of(program.stream, TARGET).timeline == simulate(program.stream, TARGET)


def test_buffers_never_hold_more_than_they_have(program: Program) -> None:
    activity = activity_of(program.stream, TARGET)
    edges = stretch_edges(activity.timeline.cycles, 10**9)
    limits = {
        Space.OPERAND: TARGET.operand_buffer_bytes,
        Space.HELD: TARGET.held_buffer_bytes,
        Space.PSUM: TARGET.psum_buffer_bytes,
    }
    for space, holdings in activity.holdings.items():
        assert (holdings.start <= holdings.end).all()
        assert holdings.end.max() <= activity.timeline.cycles
        peaks = peak_occupancy(holdings, edges)
        assert 0 < peaks.max() <= limits[space]
        coarse = peak_occupancy(holdings, stretch_edges(activity.timeline.cycles, 7))
        assert coarse.max() == peaks.max()


INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(1, 9)), max_size=12)


@given(INTERVALS, st.integers(1, 50))
def test_the_peak_is_that_of_every_cycle(intervals: list[tuple[int, int, int]], stretches: int) -> None:
    columns = np.array(intervals, np.int64).reshape(-1, 3)
    held = Holdings(columns[:, 0], columns[:, 0] + columns[:, 1], columns[:, 2])
    edges = stretch_edges(50, stretches)
    by_cycle = [sum(n for low, length, n in intervals if low <= cycle < low + length) for cycle in range(50)]
    assert edges[-1] == 50
    assert len(edges) <= stretches + 1
    wanted = [max(by_cycle[low:high]) for low, high in pairwise(edges.tolist())]
    assert peak_occupancy(held, edges).tolist() == wanted


def test_bandwidth_keeps_the_bytes() -> None:
    start, end = np.array([0, 10, 14]), np.array([8, 10, 34])
    executions = Executions(np.zeros(3, np.int64), start, end, np.array([80, 0, 100]))
    edges = np.array([0, 4, 8, 14, 24, 40])
    rates = bytes_per_cycle(executions, edges)
    assert rates.tolist() == [10, 10, 0, 5, 50 / 16]
    assert float((rates * np.diff(edges)).sum()) == 180
