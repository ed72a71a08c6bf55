"""What a comparison finds, as plain records: docs/schemas/comparison.json describes their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp, log
from typing import Any

from flexc.versioned_json import versioned_json

SCHEMA = "flexc.comparison"
SCHEMA_VERSION = 1

CLAIMED_SPEED = (1.5, 5.3)
CLAIMED_ENERGY = (2.4, 7.0)
CLAIM = (
    f"The FlexBlock paper claims {CLAIMED_SPEED[0]} to {CLAIMED_SPEED[1]} times the speed and "
    f"{CLAIMED_ENERGY[0]} to {CLAIMED_ENERGY[1]} times the energy efficiency of other training accelerators. "
    "That is its claim, not a figure of this comparison."
)
ACCURACY = {
    "FB12": "docs/training_results.md has the accuracy that training in 4-bit mantissas reached",
}


@dataclass(frozen=True)
class PhaseRow:
    """A part of a step on a machine."""

    phase: str
    cycles: int
    compute_cycles: int
    dram_bytes: int
    energy_pj: float


@dataclass(frozen=True)
class MachineRow:
    """A model on a machine. ``policy`` is empty for a baseline, which has its own numbers."""

    model: str
    target: str
    policy: str
    batchnorm: str
    macs: int
    cycles: int
    milliseconds: float
    dram_bytes: int
    energy_pj: float
    energy_by_component_pj: Mapping[str, float]
    phases: tuple[PhaseRow, ...]
    accuracy: str
    """Where the accuracy that training reached with the policy is reported; empty where nothing is lost."""

    def phase(self, name: str) -> PhaseRow:
        """The part of that name, nothing where the step has none of it."""
        found = (one for one in self.phases if one.phase == name)
        return next(found, PhaseRow(name, 0, 0, 0, 0.0))


@dataclass(frozen=True)
class Range:
    """A ratio at the targets' values, and its least and greatest over the varied parameters."""

    nominal: float
    low: float
    high: float
    low_at: str
    high_at: str

    @classmethod
    def of(cls, nominal: float, varied: Mapping[str, float]) -> Range:
        """The range of a ratio that takes ``varied`` values besides, by what was varied."""
        values = {"as assumed": nominal, **varied}
        low, high = min(values, key=lambda at: values[at]), max(values, key=lambda at: values[at])
        return cls(nominal, values[low], values[high], low, high)


@dataclass(frozen=True)
class RatioRow:
    """FlexBlock against another machine, both with the same batch norm; above 1 FlexBlock is ahead."""

    model: str
    target: str
    policy: str
    against: str
    batchnorm: str
    speedup: Range
    energy_ratio: Range
    speedup_by_pass: Mapping[str, float]
    lightnorm_gain: float | None
    """What LightNorm alone gives ``target`` over fp32 batch norm; None without batch norms."""


@dataclass(frozen=True)
class MeanRow:
    """Geometric means over the models."""

    target: str
    policy: str
    against: str
    speedup: Range
    energy_ratio: Range


@dataclass(frozen=True)
class ArrayRow:
    """The size of a machine's array and the area of its datapath, part by part, mm2."""

    target: str
    array: str
    area_mm2: Mapping[str, float]
    total_mm2: float


@dataclass(frozen=True)
class Comparison:
    """All of it. Every figure rests on assumed values of the targets."""

    batchnorm: str
    iso: str
    train: bool
    arrays: tuple[ArrayRow, ...]
    machines: tuple[MachineRow, ...]
    ratios: tuple[RatioRow, ...]
    means: tuple[MeanRow, ...]
    varied: tuple[str, ...]
    claim: str = CLAIM

    def to_json(self) -> str:
        """The text of the JSON document."""
        return versioned_json(SCHEMA, SCHEMA_VERSION, {**asdict(self), "assumed": True})

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """The comparison that :meth:`to_json` wrote; KeyError or TypeError for anything else."""
        found: dict[str, Any] = json.loads(text)
        for key in ("schema", "schema_version", "assumed"):
            del found[key]
        machines = tuple(
            MachineRow(**{**row, "phases": tuple(PhaseRow(**phase) for phase in row["phases"])})
            for row in found["machines"]
        )
        return cls(
            **{
                **found,
                "arrays": tuple(ArrayRow(**row) for row in found["arrays"]),
                "machines": machines,
                "ratios": tuple(RatioRow(**_with_ranges(row)) for row in found["ratios"]),
                "means": tuple(MeanRow(**_with_ranges(row)) for row in found["means"]),
                "varied": tuple(found["varied"]),
            }
        )


def _with_ranges(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{key: Range(**row[key]) for key in ("speedup", "energy_ratio")}}


def geometric_mean(values: list[float]) -> float:
    """The geometric mean of positive values."""
    return exp(sum(log(value) for value in values) / len(values))


def mean_range(ranges: list[Range]) -> Range:
    """Geometric means of nominal values, of the lowest and of the highest."""
    parts = ([one.nominal for one in ranges], [one.low for one in ranges], [one.high for one in ranges])
    nominal, low, high = (geometric_mean(part) for part in parts)
    return Range(nominal, low, high, "each model's own", "each model's own")
