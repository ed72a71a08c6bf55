"""What a point costs: the closed form of ``flexc compare``, without weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flexc.analysis.comparison.iso import Iso
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import ComparedModel, load_compared_model
from flexc.analysis.comparison.run import DEFAULT_SYSTEM, NEUTRAL_POLICY, machine_of
from flexc.analysis.comparison.workload import Workload
from flexc.analysis.sweeping.point import Point, content_of_policy, digest_of_model
from flexc.analysis.sweeping.store import Cost
from flexc.options import BatchNorm
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names

PJ_PER_UJ = 1e6
KEPT_MODELS = 8
KEPT_WORKLOADS = 64
"""Models, training steps and workloads of them that a process keeps for its next points."""
MODELS_OF_A_WORKER = 3
"""As many at least leave little to wait for when the last worker is not done."""


def evaluate(point: Point) -> Cost:
    """The cost of ``point``: a baseline as it is, beside the system of the default target.

    Raises CompileError for a model, a policy or a target that is wrong, and for what cannot be mapped.
    """
    is_baseline = point.target in baseline_names()
    machine = machine_of(point.target, load_target(DEFAULT_SYSTEM if is_baseline else point.target), Iso.NONE)
    policy = NEUTRAL_POLICY if is_baseline else point.policy
    found = model_cost(_workload(_Model.of(point), policy, content_of_policy(policy), is_baseline), machine)
    total = found.total
    return Cost(
        cycles=total.cycles,
        milliseconds=total.cycles / (machine.system.clock_mhz * 1e3),
        energy_uj=total.energy.total / PJ_PER_UJ,
        dram_bytes=total.dram_bytes,
        macs=found.macs,
        datapath_um2=machine.area.total,
    )


def shared_model(point: Point) -> tuple[object, ...]:
    """What is the same of two points that share a model, and the training step that is made of it."""
    return point.model, point.batch, point.train


def shared_workload(point: Point) -> tuple[object, ...]:
    """What is the same of two points that share a workload: all but the target, and a baseline's policy."""
    policy = "" if point.target in baseline_names() else point.policy
    return *shared_model(point), point.batchnorm, policy


def shares_of(points: Sequence[Point], jobs: int | None) -> Callable[[Point], Hashable]:
    """What of a point says which others one worker evaluates with it.

    Its model, where there are models enough to keep ``jobs`` workers busy (None: nobody knows how many there
    are), otherwise its workload.
    """
    enough = jobs is not None and len(set(map(shared_model, points))) >= MODELS_OF_A_WORKER * jobs
    return shared_model if enough else shared_workload


@dataclass(frozen=True)
class _Model:
    """What a workload depends on besides the policy: a file and its content, and what is made of it."""

    path: str
    digest: str
    train: bool
    batch: int
    batchnorm: str

    @classmethod
    def of(cls, point: Point) -> _Model:
        return cls(point.model, digest_of_model(point.model), point.train, point.batch, point.batchnorm)


@lru_cache(maxsize=KEPT_WORKLOADS)
def _workload(model: _Model, policy: str, content: str, everywhere: bool) -> Workload:
    """The workload of a model under a policy of that content, for every target that it is estimated on."""
    compared = _compared(model.path, model.digest, model.train, model.batch)
    return compared.workload(policy, BatchNorm(model.batchnorm), everywhere=everywhere)


@lru_cache(maxsize=KEPT_MODELS)
def _compared(path: str, digest: str, train: bool, batch: int) -> ComparedModel:
    """The model of a file with that content, for every policy."""
    return load_compared_model(Path(path), train=train, batch=batch, weights=False)
