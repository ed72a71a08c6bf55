"""The schedule of a program: what each group of ops does, and when, on the target's clock.

Cycles, bytes and instructions are those of the timing simulation of the instruction stream. The figures of a
contraction alone are closed forms of its mapping. Every rate and energy behind them is an assumption of the
target. docs/schemas/schedule.json describes the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.diagnostics import Place, error
from flexc.versioned_json import long_versioned_json

SCHEMA = "flexc.schedule"
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class NodeSchedule:
    """An ONNX node of a group: its name, operator and index in the model."""

    name: str
    op_type: str
    index: int

    def __str__(self) -> str:
        return f"'{self.name}' ({self.op_type}, node {self.index})"


@dataclass(frozen=True)
class LoopLevel:
    """One level of a mapping, such as ``core`` with ``o 4, p 4``; ``spatial`` loops run side by side.

    Of a spatial level, ``at_work`` of the ``available`` units have something to do; both are 0 of the others.
    """

    level: str
    loops: str
    spatial: bool
    at_work: int = 0
    available: int = 0


@dataclass(frozen=True)
class ContractionSchedule:
    """One contraction of a group: the variable of its result, its mapping, and estimates of it alone.

    ``formats`` are those of its operands, a and b. ``utilization`` is the share of the multipliers at work
    while the cores compute, ``limit`` what costs most of the rest; ``multiplier_cycles`` counts multipliers
    at work over all cycles. ``extents`` are the problem's loop extents by dimension. In a training step
    ``layer`` and ``training_pass`` say which contraction of which layer it is; a strided local gradient is
    one for each of its phases.
    """

    result: str
    formats: tuple[str, str]
    extents: Mapping[str, int]
    mapping: str
    levels: tuple[LoopLevel, ...]
    macs: int
    multiplier_cycles: int
    utilization: float
    limit: str
    layer: str = ""
    training_pass: str = "forward"


@dataclass(frozen=True)
class TensorTraffic:
    """Bytes of one tensor that a group moves from DRAM (read) and to DRAM (written)."""

    tensor: str
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class BufferUse:
    """Slots on chip: ``depth`` buffers of ``size_bytes``, in each core's memory or striped over all cores."""

    memory: str
    size_bytes: int
    depth: int
    per_core: bool
    holds: str


@dataclass(frozen=True)
class QuantizationSchedule:
    """A tensor that a group quantizes: its variable, its format, and what it is made from.

    ``source`` is the variable of the tensor; where ``stored``, it is read from DRAM in ``source_format``
    (fp10 for LightNorm's results), otherwise it is the group's own fp32 value.
    """

    result: str
    format: str
    source: str
    source_format: str
    stored: bool


@dataclass(frozen=True)
class KeptTensor:
    """A result of the forward pass that stays in DRAM until a training step's backward pass has read it."""

    tensor: str
    node: NodeSchedule | None
    size_bytes: int
    format: str


@dataclass(frozen=True)
class DramUse:
    """Bytes of DRAM: ``fixed`` for constants, inputs and outputs, ``peak`` with all that lives between."""

    capacity_bytes: int
    peak_bytes: int
    fixed_bytes: int
    kept_for_backward: tuple[KeptTensor, ...]

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept for the backward pass."""
        return sum(one.size_bytes for one in self.kept_for_backward)


@dataclass(frozen=True)
class EngineSchedule:
    """An engine's part in a group: cycles of its first start and its last end, and cycles at work between."""

    start_cycle: int
    end_cycle: int
    busy_cycles: int


@dataclass(frozen=True)
class GroupSchedule:
    """A scheduled group: its ops and ONNX nodes, its cycles in the program, its traffic with DRAM.

    ``step_part`` is forward, local_grad, weight_grad or update: a training step's; otherwise all is forward.
    ``limit`` names what bounds it: DRAM, an engine, or where the cores do, the level of the mapping that
    loses most; "latency" where no engine is at work most of the time. ``end_to_end_utilization`` is that of
    the multipliers from the group's first start to its last end.
    """

    index: int
    kind: str
    step_part: str
    ops: tuple[str, ...]
    nodes: tuple[NodeSchedule, ...]
    contractions: tuple[ContractionSchedule, ...]
    quantizations: tuple[QuantizationSchedule, ...]
    start_cycle: int
    end_cycle: int
    engines: Mapping[str, EngineSchedule]
    macs: int
    end_to_end_utilization: float
    limit: str
    traffic: tuple[TensorTraffic, ...]
    buffers: tuple[BufferUse, ...]
    read_bytes: int
    written_bytes: int
    instructions: int
    energy_by_component_pj: EnergyBreakdown

    @property
    def cycles(self) -> int:
        """From its first start to its last end; groups overlap, so these do not add up."""
        return self.end_cycle - self.start_cycle

    @property
    def energy_pj(self) -> float:
        """Energy of all its components."""
        return self.energy_by_component_pj.total

    @property
    def label(self) -> str:
        """The name of its first node; where none is known, what it stores, or its first op."""
        if self.nodes:
            return self.nodes[0].name
        stored = [one.tensor for one in self.traffic if one.written_bytes]
        return stored[0] if stored else self.ops[0]


@dataclass(frozen=True)
class Schedule:
    """A whole program on ``target``; utilization is that of its multipliers.

    ``spatial_utilization`` counts the cycles in which the cores compute, ``end_to_end_utilization`` all.
    """

    target: str
    clock_mhz: float
    cycles: int
    milliseconds: float
    spatial_utilization: float
    end_to_end_utilization: float
    busy_cycles: Mapping[str, int]
    macs: int
    read_bytes: int
    written_bytes: int
    instructions: int
    energy_by_component_pj: EnergyBreakdown
    dram: DramUse
    groups: tuple[GroupSchedule, ...]

    @property
    def energy_pj(self) -> float:
        """Energy of the whole program."""
        return self.energy_by_component_pj.total

    def to_json(self) -> str:
        """The text of schedule.json."""
        return long_versioned_json(SCHEMA, SCHEMA_VERSION, {"assumed": True, **vars(self)})

    @classmethod
    def from_json(cls, text: str, file: str = "") -> Schedule:
        """The schedule that :meth:`to_json` wrote, to ``file`` where there is one.

        Raises CompileError FX514 for one of another version, and KeyError or TypeError for anything else.
        """
        found: dict[str, Any] = json.loads(text)
        version = found.pop("schema"), found.pop("schema_version")
        if version != (SCHEMA, SCHEMA_VERSION):
            raise error(
                "FX514",
                f"the schedule is {version[0]} version {version[1]}; this flexc reads {SCHEMA} version "
                f"{SCHEMA_VERSION}",
                place=Place(file),
                hint="compile the model again with this version",
            )
        del found["assumed"]
        groups = tuple(_group(group) for group in found["groups"])
        energy = EnergyBreakdown(**found.pop("energy_by_component_pj"))
        return cls(**{**found, "dram": _dram(found["dram"]), "groups": groups}, energy_by_component_pj=energy)


def _dram(found: dict[str, Any]) -> DramUse:
    kept = [
        KeptTensor(**{**one, "node": one["node"] and NodeSchedule(**one["node"])})
        for one in found["kept_for_backward"]
    ]
    return DramUse(**{**found, "kept_for_backward": tuple(kept)})


def _group(found: dict[str, Any]) -> GroupSchedule:
    return GroupSchedule(
        **{
            **found,
            "ops": tuple(found["ops"]),
            "nodes": tuple(NodeSchedule(**node) for node in found["nodes"]),
            "contractions": tuple(_contraction(one) for one in found["contractions"]),
            "quantizations": tuple(QuantizationSchedule(**one) for one in found["quantizations"]),
            "engines": {name: EngineSchedule(**use) for name, use in found["engines"].items()},
            "traffic": tuple(TensorTraffic(**one) for one in found["traffic"]),
            "buffers": tuple(BufferUse(**one) for one in found["buffers"]),
            "energy_by_component_pj": EnergyBreakdown(**found["energy_by_component_pj"]),
        }
    )


def _contraction(found: dict[str, Any]) -> ContractionSchedule:
    first, second = found["formats"]
    levels = tuple(LoopLevel(**level) for level in found["levels"])
    return ContractionSchedule(**{**found, "formats": (first, second), "levels": levels})
