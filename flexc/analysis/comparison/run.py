"""Compares models on machines: every policy on FlexBlock against every other target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

from flexc.analysis.comparison.iso import Iso, beside
from flexc.analysis.comparison.machines import BaselineMachine, FlexBlockMachine, Machine
from flexc.analysis.comparison.model_cost import CONTRACTION_PHASES, ModelCost, model_cost
from flexc.analysis.comparison.models import ComparedModel, LoadModel
from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.result import (
    ACCURACY,
    ArrayRow,
    Comparison,
    MachineRow,
    MeanRow,
    PhaseRow,
    Range,
    RatioRow,
    mean_range,
)
from flexc.analysis.comparison.variations import VARIATIONS
from flexc.analysis.comparison.workload import Workload
from flexc.cost.area import DatapathArea
from flexc.cost.energy_breakdown import COMPONENTS
from flexc.diagnostics import error
from flexc.options import BatchNorm
from flexc.target import Target, load_target
from flexc.target.baseline import ReductionTree
from flexc.target.load_baseline import baseline_names, load_baseline

NEUTRAL_POLICY = "FB16"
"""The policy whose groups of ops a baseline's are: every contraction quantized, none an exception."""
DEFAULT_SYSTEM = "flexblock"


@dataclass(frozen=True)
class ComparisonOptions:
    """What to compare; the first target is compared with all others."""

    targets: tuple[str, ...]
    policies: tuple[str, ...] = ("FB12",)
    batchnorm: BatchNorm = BatchNorm.FP32
    iso: Iso = Iso.DATAPATH
    train: bool = True
    ranges: bool = True


def _no_progress(step: str) -> None:
    """Takes what nobody wants to see."""


def compare(
    models: Sequence[LoadModel],
    options: ComparisonOptions,
    progress: Callable[[str], None] = _no_progress,
) -> Comparison:
    """Costs and ratios of ``models``, each loaded when its turn comes.

    Raises CompileError: FX401 for an unknown target, FX591 where the first target is a baseline and others
    are to be compared with it, and what compiling and mapping raise.
    """
    if len(options.targets) > 1 and options.targets[0] in baseline_names():
        raise error(
            "FX591",
            f"'{options.targets[0]}' is a baseline, and the first target is what others are compared with",
            hint="name a FlexBlock target first",
        )
    machines: list[MachineRow] = []
    ratios: list[RatioRow] = []
    for load in models:
        bench = _Bench(load(), options, progress)
        machines += bench.machine_rows()
        ratios += bench.ratio_rows()
    system = _system(options)
    return Comparison(
        batchnorm=str(options.batchnorm),
        iso=str(options.iso),
        train=options.train,
        arrays=tuple(_array_row(machine_of(name, system, options.iso)) for name in options.targets),
        machines=tuple(machines),
        ratios=tuple(ratios),
        means=tuple(_means(ratios)),
        varied=tuple(f"{one.parameter} {one.value}" for one in VARIATIONS) if options.ranges else (),
    )


@dataclass
class _Bench:
    """One model on all machines."""

    model: ComparedModel
    options: ComparisonOptions
    progress: Callable[[str], None]
    workloads: dict[tuple[str, BatchNorm], Workload] = field(default_factory=dict)
    costs: dict[tuple[str, BatchNorm, Machine], ModelCost] = field(default_factory=dict)

    def machine_rows(self) -> Iterator[MachineRow]:
        """The model on each target, under each policy."""
        for name, policy in self._points():
            machine = machine_of(name, _system(self.options), self.options.iso)
            yield self._machine_row(machine, policy, self.options.batchnorm)
            if self._other_norm_matters(name):
                other = _other(self.options.batchnorm)
                yield self._machine_row(machine, policy, other)

    def ratio_rows(self) -> Iterator[RatioRow]:
        """The first target against each other one."""
        first, *others = self.options.targets
        for policy in self.options.policies:
            for other in others:
                for their_policy in ("",) if other in baseline_names() else self.options.policies:
                    if their_policy in ("", policy):
                        yield self._ratio_row(first, policy, other, their_policy)

    def _points(self) -> Iterator[tuple[str, str]]:
        for name in self.options.targets:
            for policy in ("",) if name in baseline_names() else self.options.policies:
                yield name, policy

    def _other_norm_matters(self, name: str) -> bool:
        return name not in baseline_names() and self._has_norms()

    def _has_norms(self) -> bool:
        return any(group.norm is not None for group in self._workload(self.options.policies[0]).groups)

    def _workload(self, policy: str, batchnorm: BatchNorm | None = None) -> Workload:
        key = (policy, batchnorm or self.options.batchnorm)
        if key not in self.workloads:
            self.workloads[key] = self.model.workload(
                policy or NEUTRAL_POLICY, key[1], everywhere=policy == ""
            )
        return self.workloads[key]

    def _cost(self, machine: Machine, policy: str, batchnorm: BatchNorm) -> ModelCost:
        key = (policy, batchnorm, machine)
        if key not in self.costs:
            self.progress(f"{self.model.name} on {machine.name} {policy}".rstrip())
            self.costs[key] = model_cost(self._workload(policy, batchnorm), machine)
        return self.costs[key]

    def _machine_row(self, machine: Machine, policy: str, batchnorm: BatchNorm) -> MachineRow:
        cost = self._cost(machine, policy, batchnorm)
        total = cost.total
        return MachineRow(
            model=self.model.name,
            target=machine.name,
            policy=policy,
            batchnorm=str(batchnorm),
            macs=cost.macs,
            cycles=total.cycles,
            milliseconds=total.cycles / (machine.system.clock_mhz * 1e3),
            dram_bytes=total.dram_bytes,
            energy_pj=total.energy.total,
            energy_by_component_pj={name: getattr(total.energy, name) for name in COMPONENTS},
            phases=tuple(
                PhaseRow(str(phase), one.cycles, one.compute_cycles, one.dram_bytes, one.energy.total)
                for phase, one in cost.phases.items()
            ),
            accuracy=next((text for key, text in ACCURACY.items() if policy.startswith(key)), ""),
        )

    def _ratio_row(self, first: str, policy: str, other: str, their_policy: str) -> RatioRow:
        system, norm = _system(self.options), self.options.batchnorm
        ours, theirs = self._pair(first, policy, other, their_policy, system)
        speed, energy = {}, {}
        for variation in VARIATIONS if self.options.ranges else ():
            at = f"{variation.parameter} {variation.value}"
            mine, yours = self._pair(first, policy, other, their_policy, variation.change(system))
            speed[at] = yours.total.cycles / mine.total.cycles
            energy[at] = yours.total.energy.total / mine.total.energy.total
        by_pass = {
            str(phase): theirs.phase(phase).cycles / ours.phase(phase).cycles
            for phase in (*CONTRACTION_PHASES, Phase.BATCH_NORM)
            if ours.phase(phase).cycles
        }
        return RatioRow(
            model=self.model.name,
            target=first,
            policy=policy,
            against=other,
            batchnorm=str(norm),
            speedup=Range.of(_seconds(theirs, other, system) / _seconds(ours, first, system), speed),
            energy_ratio=Range.of(theirs.total.energy.total / ours.total.energy.total, energy),
            speedup_by_pass=by_pass,
            lightnorm_gain=self._lightnorm_gain(first, policy, system),
        )

    def _pair(
        self, first: str, policy: str, other: str, their_policy: str, system: Target
    ) -> tuple[ModelCost, ModelCost]:
        norm, iso = self.options.batchnorm, self.options.iso
        # FlexBlock's own cost hangs on no area: where only areas vary, it is known already.
        ours = replace(system, area=_system(self.options).area)
        return (
            self._cost(FlexBlockMachine(ours), policy, norm),
            self._cost(machine_of(other, system, iso), their_policy, norm),
        )

    def _lightnorm_gain(self, first: str, policy: str, system: Target) -> float | None:
        if not self._has_norms():
            return None
        machine = FlexBlockMachine(system)
        fp32, lightnorm = (self._cost(machine, policy, one) for one in (BatchNorm.FP32, BatchNorm.LIGHTNORM))
        return fp32.total.cycles / lightnorm.total.cycles


def _seconds(cost: ModelCost, name: str, system: Target) -> float:
    clock = system.clock_mhz if name in baseline_names() else load_target(name).clock_mhz
    return cost.total.cycles / (clock * 1e6)


def _other(batchnorm: BatchNorm) -> BatchNorm:
    return BatchNorm.LIGHTNORM if batchnorm is BatchNorm.FP32 else BatchNorm.FP32


def _system(options: ComparisonOptions) -> Target:
    first = options.targets[0]
    return load_target(DEFAULT_SYSTEM if first in baseline_names() else first)


def machine_of(name: str, system: Target, iso: Iso) -> FlexBlockMachine | BaselineMachine:
    """The target of that name; a baseline is put beside ``system``, as large as ``iso`` says."""
    if name in baseline_names():
        return beside(load_baseline(name), system, iso)
    return FlexBlockMachine(system if name == system.name else load_target(name))


def _array_row(machine: FlexBlockMachine | BaselineMachine) -> ArrayRow:
    if isinstance(machine, FlexBlockMachine):
        array = f"{machine.system.multipliers:,} multipliers of 4 x 4 bits"
    elif isinstance(machine.baseline.array, ReductionTree):
        array = f"{machine.baseline.array.pes:,} PEs"
    else:
        array = f"{machine.baseline.array.rows} x {machine.baseline.array.columns} cells"
    parts = {each.name: getattr(machine.area, each.name) / 1e6 for each in fields(DatapathArea)}
    return ArrayRow(machine.name, array, parts, machine.area.total / 1e6)


def _means(ratios: Sequence[RatioRow]) -> Iterator[MeanRow]:
    keys = dict.fromkeys((row.target, row.policy, row.against) for row in ratios)
    for target, policy, against in keys:
        rows = [row for row in ratios if (row.target, row.policy, row.against) == (target, policy, against)]
        yield MeanRow(
            target,
            policy,
            against,
            mean_range([row.speedup for row in rows]),
            mean_range([row.energy_ratio for row in rows]),
        )
