"""A simulated program as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

A row an engine; a slice is an execution of a record, or several of one engine and group that were merged to
bound the file. Counters show how full the buffers of a core are and what the DRAM delivers and takes.
Times are those of the target's clock, whole nanoseconds in the format's microseconds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import flexc
from flexc.analysis.activity_counters import bytes_per_cycle, peak_occupancy, stretch_edges
from flexc.backends.stream.activity import Activity, activity_of
from flexc.backends.stream.isa import ENGINES, Engine, Opcode
from flexc.backends.stream.program import Stream
from flexc.diagnostics import error
from flexc.schedule import GroupSchedule, Schedule
from flexc.target.machine import Target

PROCESS = 1
COUNTERS = 5
COUNTER_SHARE = 8
"""One in so many events is left to counters."""
DRAM_COUNTERS: dict[Engine, str] = {"dma_in": "DRAM read", "dma_out": "DRAM write"}
OUTSIDE = "outside of groups"

Event: TypeAlias = dict[str, object]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """What the file holds beside its events, its events, and in words which executions were merged."""

    remarks: dict[str, str]
    events: tuple[Event, ...]
    note: str

    def to_json(self) -> str:
        """The text of the trace, an event a line; the same for equal traces."""
        head = json.dumps({"displayTimeUnit": "ns", "otherData": self.remarks})
        lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in self.events)
        return f'{head[:-1]}, "traceEvents": [\n{lines}\n]}}\n'

    def write(self, path: Path) -> None:
        """Writes the text, compressed if the path ends in .gz; equal traces give equal bytes."""
        content = self.to_json().encode()
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def trace_of(schedule: Schedule, stream: Stream, target: Target, max_events: int) -> Trace:
    """The trace of a program on its target, of at most ``max_events`` events.

    Raises CompileError FX554 where a slice for each engine and group is more than that already.
    """
    builder = _Builder(schedule, stream, target)
    rows = list(builder.rows())
    stretches = max(1, min(schedule.cycles, max_events // COUNTER_SHARE // COUNTERS))
    merged = builder.least_merging(max_events, len(rows) + COUNTERS * (stretches + 1))
    slices = list(builder.slices(merged))
    executions = builder.activity.timeline.instructions
    note = f"every one of {executions:,} executions is a slice"
    if merged > 1:
        note = (
            f"{executions:,} executions are {len(slices):,} slices: up to {merged:,} of one engine and "
            "group, one after the other, were merged into one"
        )
    remarks = {
        "producer": f"flexc {flexc.__version__}",
        "target": target.name,
        "assumed": "every rate, size and energy of the target",
        "cycles": str(schedule.cycles),
        "slices": note,
        "counters": f"peaks and means over at most {stretches:,} stretches of the program",
    }
    return Trace(remarks, (*rows, *slices, *builder.counters(stretches)), note)


class _Builder:
    def __init__(self, schedule: Schedule, stream: Stream, target: Target) -> None:
        self.stream = stream
        self.target = target
        self.activity: Activity = activity_of(stream, target)
        self.names = [_name(group) for group in schedule.groups]
        self.group_of_record = np.full(len(stream.records), -1, np.int64)
        for position, group in enumerate(stream.groups):
            self.group_of_record[group.first_record : group.end_record] = position

    def microseconds(self, cycle: int) -> float:
        """A time of the format; whole nanoseconds keep the order of cycles, so slices never overlap."""
        return round(cycle * 1000 / self.target.clock_mhz) / 1000

    def rows(self) -> Iterator[Event]:
        """Names of the process and of the rows, in order."""
        process = {"name": f"{self.target.name}, all rates assumed"}
        yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": process}
        for tid, engine in enumerate(ENGINES):
            row = {"ph": "M", "pid": PROCESS, "tid": tid}
            yield {**row, "name": "thread_name", "args": {"name": engine}}
            yield {**row, "name": "thread_sort_index", "args": {"sort_index": tid}}

    def least_merging(self, max_events: int, taken: int) -> int:
        """The fewest executions a slice has to stand for, so that all slices fit beside what is taken."""
        groups = len(self.stream.groups) + 1
        runs = np.concatenate(
            [
                np.bincount(
                    self.group_of_record[self.activity.executions[engine].record] + 1, minlength=groups
                )
                for engine in ENGINES
            ]
        )

        def events(merged: int) -> int:
            return taken + int((-(-runs // merged)).sum())

        low, high = 1, max(1, int(runs.max()))
        if events(high) > max_events:
            raise error(
                "FX554",
                f"a trace of {max_events:,} events has no room for a slice of each engine and group",
                hint=f"allow {events(high):,} or more with --max-events",
            )
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if events(middle) <= max_events else (middle + 1, high)
        return low

    def slices(self, merged: int) -> Iterator[Event]:
        """The slices of every engine, in order, each of up to ``merged`` executions of one group."""
        for tid, engine in enumerate(ENGINES):
            group = self.group_of_record[self.activity.executions[engine].record]
            edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
            for begin, end in pairwise(edges):
                for low in range(begin, end, merged):
                    yield self._slice(tid, engine, slice(low, min(low + merged, end)), int(group[low]))

    def _slice(self, tid: int, engine: Engine, some: slice, group: int) -> Event:
        found = self.activity.executions[engine]
        start, end = int(found.start[some.start]), int(found.end[some.stop - 1])
        opcodes = np.unique(self.stream.records["opcode"][found.record[some]]).tolist()
        begin = self.microseconds(start)
        return {
            "ph": "X",
            "pid": PROCESS,
            "tid": tid,
            "ts": begin,
            "dur": round(self.microseconds(end) - begin, 3),
            "name": self.names[group] if group >= 0 else OUTSIDE,
            "cat": ",".join(Opcode(code).name.lower() for code in opcodes),
            "args": {
                "group": self.stream.groups[group].index if group >= 0 else -1,
                "start_cycle": start,
                "busy_cycles": int((found.end[some] - found.start[some]).sum()),
                "executions": some.stop - some.start,
                "dram_bytes": int(found.moved_bytes[some].sum()),
            },
        }

    def counters(self, stretches: int) -> Iterator[Event]:
        """Peaks of what a core's buffers hold, and mean bandwidth of the DRAM, in equal stretches."""
        edges = stretch_edges(self.activity.timeline.cycles, stretches)
        for space, holdings in self.activity.holdings.items():
            name = f"{space.name.lower()} buffer of a core"
            yield from self._counter(name, "peak_bytes", edges, peak_occupancy(holdings, edges).tolist())
        for engine, name in DRAM_COUNTERS.items():
            rates = bytes_per_cycle(self.activity.executions[engine], edges) * self.target.clock_mhz / 1000
            yield from self._counter(name, "mean_gb_per_s", edges, np.round(rates, 3).tolist())

    def _counter(self, name: str, unit: str, edges: Integers, values: list[float]) -> Iterator[Event]:
        previous = None
        for edge, value in zip(edges.tolist(), [*values, 0], strict=True):
            if value != previous:
                args = {unit: value}
                yield {"ph": "C", "pid": PROCESS, "ts": self.microseconds(edge), "name": name, "args": args}
            previous = value


def _name(group: GroupSchedule) -> str:
    part = group.contractions[0].training_pass if group.contractions else group.kind
    return f"{group.label} ({part})"
