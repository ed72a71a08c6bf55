"""What a timing simulation finds, and what it tells of while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flexc.backends.stream.isa import Engine


@dataclass(frozen=True)
class EngineUse:
    """One engine over a stretch of the program: first start, last end, and cycles at work between.

    ``lane_cycles`` are those of the lanes that work, added up: elements, each times the cycles that it takes
    a lane. 0 of cores and DMA.
    """

    start: int
    end: int
    busy: int
    lane_cycles: int


@dataclass(frozen=True)
class GroupTiming:
    """One scheduled group: cycles at which its first record starts and its last one ends, and what it did."""

    index: int
    label: str
    start: int
    end: int
    engines: dict[Engine, EngineUse]
    macs: int
    read_bytes: int
    written_bytes: int
    instructions: int


@dataclass(frozen=True)
class Timeline:
    """What the simulation found; ``instructions`` counts executed records that have an engine.

    ``record_bytes`` gives the bytes that each record moved to or from DRAM over all its executions, by index.
    """

    cycles: int
    busy: dict[Engine, int]
    groups: tuple[GroupTiming, ...]
    macs: int
    read_bytes: int
    written_bytes: int
    instructions: int
    record_bytes: dict[int, int]


class Observer(Protocol):
    """What a simulation tells of the records it executes, in the order of the program."""

    def __call__(self, record: int, engine: Engine, start: int, end: int, moved_bytes: int) -> None:
        """A record ran from cycle ``start`` to ``end`` and moved bytes of DRAM; control takes no time."""
