"""The Chrome trace event format, as far as it documents the events that flexc writes.

After "Trace Event Format" by the Chromium authors: the JSON object format, and its complete (X), metadata (M)
and counter (C) events. Slices of a thread have to nest, or a viewer shows them wrong; those of an engine are
not even allowed to overlap.
"""

from __future__ import annotations

from typing import Any

FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "X": {
        "pid": int,
        "tid": int,
        "ts": (int, float),
        "dur": (int, float),
        "name": str,
        "cat": str,
        "args": dict,
    },
    "M": {"pid": int, "name": str, "args": dict},
    "C": {"pid": int, "ts": (int, float), "name": str, "args": dict},
}
METADATA: dict[str, dict[str, type]] = {
    "process_name": {"name": str},
    "thread_name": {"name": str},
    "thread_sort_index": {"sort_index": int},
}


def trace_violations(document: dict[str, Any]) -> list[str]:
    """What in a trace the format does not know, or a viewer would show wrong."""
    found = []
    if document.get("displayTimeUnit") not in ("ms", "ns"):
        found.append("displayTimeUnit is neither ms nor ns")
    if set(document) - {"displayTimeUnit", "otherData", "traceEvents"}:
        found.append("fields of the trace that the format does not know")
    ends: dict[tuple[int, int], float] = {}
    samples: dict[str, float] = {}
    for number, event in enumerate(document["traceEvents"]):
        found += [f"event {number}: {problem}" for problem in _of_event(event, ends, samples)]
    return found


def _of_event(
    event: dict[str, Any], ends: dict[tuple[int, int], float], samples: dict[str, float]
) -> list[str]:
    phase = event.get("ph")
    if phase not in FIELDS:
        return [f"phase {phase!r}"]
    found = [
        f"{name} is {event.get(name)!r}"
        for name, kind in FIELDS[phase].items()
        if not isinstance(event.get(name), kind) or isinstance(event.get(name), bool)
    ]
    surplus = set(event) - set(FIELDS[phase]) - {"ph"} - ({"tid"} if phase == "M" else set())
    found += [f"{name} has no meaning in phase {phase}" for name in sorted(surplus)]
    if found:
        return found
    if phase == "M":
        wanted = METADATA.get(event["name"], {})
        if {name: type(value) for name, value in event["args"].items()} != wanted or not wanted:
            found.append(f"metadata {event['name']} with {event['args']}")
        return found
    if event["ts"] < 0:
        found.append("starts before 0")
    if phase == "C":
        if not event["args"] or not all(type(value) in (int, float) for value in event["args"].values()):
            found.append("a counter of something that is no number")
        if event["ts"] < samples.get(event["name"], 0):
            found.append("a counter that goes back in time")
        samples[event["name"]] = event["ts"]
    if phase == "X":
        row = (event["pid"], event["tid"])
        if event["dur"] < 0 or round(event["ts"] * 1000) < ends.get(row, 0):
            found.append("a slice that overlaps the one before it, or ends before it starts")
        ends[row] = round((event["ts"] + event["dur"]) * 1000)
    return found
