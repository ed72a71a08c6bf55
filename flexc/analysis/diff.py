"""How two schedules differ: formats, mappings, cycles, bytes and energy, by layer and in total.

A row is a layer (the first ONNX node of a group) and a part of it: the pass of its contraction, or the kind
of a group that has none. Groups that only one artefact has, because the other fuses them, have one side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.schedule import GroupSchedule, Schedule


@dataclass(frozen=True)
class PartCost:
    """One side of a row, added up over its groups: cycles from first start to last end, bytes, energy."""

    formats: tuple[str, ...]
    mappings: tuple[str, ...]
    cycles: int
    dram_bytes: int
    energy_pj: float
    energy_by_component_pj: EnergyBreakdown


@dataclass(frozen=True)
class PartDifference:
    """A layer's part in both artefacts; None where an artefact has no such group."""

    layer: str
    part: str
    a: PartCost | None
    b: PartCost | None

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.a == self.b


@dataclass(frozen=True)
class Total:
    """A whole program on its target."""

    target: str
    milliseconds: float
    cycles: int
    macs: int
    read_bytes: int
    written_bytes: int
    energy_pj: float
    energy_by_component_pj: EnergyBreakdown
    instructions: int


@dataclass(frozen=True)
class ScheduleDifference:
    """Two schedules, side by side; parts in the order of the first, what only the second has behind."""

    a: Total
    b: Total
    parts: tuple[PartDifference, ...]

    @property
    def differing(self) -> tuple[PartDifference, ...]:
        """The parts that are not the same in both."""
        return tuple(part for part in self.parts if not part.equal)


def schedule_difference(a: Schedule, b: Schedule) -> ScheduleDifference:
    """Schedule ``a`` beside schedule ``b``."""
    left, right = _parts(a), _parts(b)
    parts = tuple(
        PartDifference(layer, part, left.get((layer, part)), right.get((layer, part)))
        for layer, part in dict.fromkeys((*left, *right))
    )
    return ScheduleDifference(_total(a), _total(b), parts)


def _parts(schedule: Schedule) -> dict[tuple[str, str], PartCost]:
    groups: dict[tuple[str, str], list[GroupSchedule]] = {}
    for group in schedule.groups:
        part = group.contractions[0].training_pass if group.contractions else group.kind
        groups.setdefault((group.label, part), []).append(group)
    return {key: _cost(found) for key, found in groups.items()}


def _cost(groups: Iterable[GroupSchedule]) -> PartCost:
    groups = tuple(groups)
    contractions = [one for group in groups for one in group.contractions]
    energy = sum((group.energy_by_component_pj for group in groups), EnergyBreakdown())
    return PartCost(
        formats=tuple(" x ".join(one.formats) for one in contractions),
        mappings=tuple(one.mapping for one in contractions),
        cycles=sum(group.cycles for group in groups),
        dram_bytes=sum(group.read_bytes + group.written_bytes for group in groups),
        energy_pj=energy.total,
        energy_by_component_pj=energy,
    )


def _total(schedule: Schedule) -> Total:
    return Total(
        target=schedule.target,
        milliseconds=schedule.milliseconds,
        cycles=schedule.cycles,
        macs=schedule.macs,
        read_bytes=schedule.read_bytes,
        written_bytes=schedule.written_bytes,
        energy_pj=schedule.energy_pj,
        energy_by_component_pj=schedule.energy_by_component_pj,
        instructions=schedule.instructions,
    )
