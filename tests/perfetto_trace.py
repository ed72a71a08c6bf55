"""A Chrome trace in the messages of Perfetto's own schema, by the package perfetto, and what is read back.

Each event becomes the packets that Perfetto has for it: tracks for the process, rows and counters, the begin
and the end of a slice, a value of a counter. A field refuses what its type in the schema does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

SEQUENCE = 1
PROCESS_TRACK = 1
FIRST_ROW_TRACK = 100
FIRST_COUNTER_TRACK = 1000
Event = schema.TrackEvent


@dataclass(frozen=True)
class Slice:
    """A slice of a row: times in nanoseconds."""

    start_ns: int
    end_ns: int
    name: str
    category: str
    args: dict[str, int]


@dataclass
class Reading:
    """What a trace holds: names of process and rows, slices of each row, values of each counter."""

    process: str = ""
    rows: dict[int, tuple[str, int]] = field(default_factory=dict)
    """By thread: its name and its place."""
    slices: dict[int, list[Slice]] = field(default_factory=dict)
    counters: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """By name and unit."""


def nanoseconds(microseconds: float) -> int:
    """A time of the JSON format, which has to be a whole number of nanoseconds."""
    found = round(microseconds * 1000)
    if abs(found - microseconds * 1000) > 1e-3:
        raise ValueError(f"{microseconds!r} us is no whole number of nanoseconds")
    return found


def to_perfetto(document: dict[str, Any]) -> bytes:
    """A Perfetto trace with the events of a Chrome trace; TypeError or ValueError for what it cannot hold."""
    builder = TraceProtoBuilder()
    counters: dict[str, int] = {}
    for event in document["traceEvents"]:
        if event["ph"] == "M":
            _describe(builder, event)
        elif event["ph"] == "C":
            _count(builder, event, counters)
        else:
            _slice(builder, event)
    written: bytes = builder.serialize()
    return written


def _describe(builder: Any, event: dict[str, Any]) -> None:
    descriptor = builder.add_packet().track_descriptor
    if event["name"] == "process_name":
        descriptor.uuid = PROCESS_TRACK
        descriptor.process.pid = event["pid"]
        descriptor.process.process_name = event["args"]["name"]
        return
    descriptor.uuid = FIRST_ROW_TRACK + event["tid"]
    descriptor.thread.pid, descriptor.thread.tid = event["pid"], event["tid"]
    if event["name"] == "thread_name":
        descriptor.thread.thread_name = event["args"]["name"]
    else:
        descriptor.thread.legacy_sort_index = event["args"]["sort_index"]


def _count(builder: Any, event: dict[str, Any], tracks: dict[str, int]) -> None:
    for unit, value in event["args"].items():
        name = f"{event['name']}, {unit}"
        if name not in tracks:
            tracks[name] = FIRST_COUNTER_TRACK + len(tracks)
            descriptor = builder.add_packet().track_descriptor
            descriptor.uuid, descriptor.parent_uuid = tracks[name], PROCESS_TRACK
            descriptor.name = event["name"]
            descriptor.counter.unit_name = unit
        found = _event(builder, event["ts"], tracks[name], Event.TYPE_COUNTER)
        found.double_counter_value = value


def _slice(builder: Any, event: dict[str, Any]) -> None:
    track = FIRST_ROW_TRACK + event["tid"]
    begin = _event(builder, event["ts"], track, Event.TYPE_SLICE_BEGIN)
    begin.name = event["name"]
    begin.categories.append(event["cat"])
    for name, value in event["args"].items():
        annotation = begin.debug_annotations.add()
        annotation.name, annotation.int_value = name, value
    _event(builder, event["ts"] + event["dur"], track, Event.TYPE_SLICE_END)


def _event(builder: Any, microseconds: float, track: int, kind: int) -> Any:
    packet = builder.add_packet()
    packet.trusted_packet_sequence_id = SEQUENCE
    packet.timestamp = nanoseconds(microseconds)
    packet.track_event.type, packet.track_event.track_uuid = kind, track
    return packet.track_event


def read_perfetto(content: bytes) -> Reading:
    """What a Perfetto trace says; ValueError for slices that do not follow one another on their row."""
    trace = schema.Trace()
    trace.ParseFromString(content)
    found = Reading()
    counters: dict[int, str] = {}
    open_events: dict[int, Any] = {}
    last_end: dict[int, int] = {}
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            _read_descriptor(packet.track_descriptor, found, counters)
            continue
        event = packet.track_event
        if event.type == Event.TYPE_COUNTER:
            values = found.counters.setdefault(counters[event.track_uuid], [])
            if values and values[-1][0] > packet.timestamp:
                raise ValueError(f"{counters[event.track_uuid]} goes back in time")
            values.append((packet.timestamp, event.double_counter_value))
            continue
        row = event.track_uuid - FIRST_ROW_TRACK
        if event.type == Event.TYPE_SLICE_BEGIN:
            if row not in found.rows or packet.timestamp < last_end.get(row, 0):
                raise ValueError(f"'{event.name}' overlaps the slice before it, or its row has no name")
            open_events[row] = packet
            continue
        begin = open_events.pop(row)
        if packet.timestamp < begin.timestamp:
            raise ValueError(f"'{begin.track_event.name}' ends before it starts")
        last_end[row] = packet.timestamp
        args = {each.name: each.int_value for each in begin.track_event.debug_annotations}
        (category,) = begin.track_event.categories
        name = begin.track_event.name
        found.slices.setdefault(row, []).append(
            Slice(begin.timestamp, packet.timestamp, name, category, args)
        )
    return found


def _read_descriptor(descriptor: Any, found: Reading, counters: dict[int, str]) -> None:
    if descriptor.HasField("process"):
        found.process = descriptor.process.process_name
    elif descriptor.HasField("counter"):
        counters[descriptor.uuid] = f"{descriptor.name}, {descriptor.counter.unit_name}"
    else:
        thread = descriptor.thread
        name, place = found.rows.get(thread.tid, ("", 0))
        found.rows[thread.tid] = (thread.thread_name or name, thread.legacy_sort_index or place)
