"""What a point costs: the closed form of ``flexc compare``, without weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flexc.analysis.comparison.iso import Iso
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import ComparedModel, load_compared_model
from flexc.analysis.comparison.run import DEFAULT_SYSTEM, NEUTRAL_POLICY, machine_of
from flexc.analysis.sweeping.point import Point, digest_of_model
from flexc.analysis.sweeping.store import Cost
from flexc.options import BatchNorm
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names

PJ_PER_UJ = 1e6
KEPT_MODELS = 8
"""Models, and training steps of them, that a process keeps for its next points."""


def evaluate(point: Point) -> Cost:
    """The cost of ``point``: a baseline as it is, beside the system of the default target.

    Raises CompileError for a model, a policy or a target that is wrong, and for what cannot be mapped.
    """
    is_baseline = point.target in baseline_names()
    machine = machine_of(point.target, load_target(DEFAULT_SYSTEM if is_baseline else point.target), Iso.NONE)
    model = _model(point.model, digest_of_model(point.model), point.train, point.batch)
    policy = NEUTRAL_POLICY if is_baseline else point.policy
    found = model_cost(model.workload(policy, BatchNorm(point.batchnorm), everywhere=is_baseline), machine)
    total = found.total
    return Cost(
        cycles=total.cycles,
        milliseconds=total.cycles / (machine.system.clock_mhz * 1e3),
        energy_uj=total.energy.total / PJ_PER_UJ,
        dram_bytes=total.dram_bytes,
        macs=found.macs,
        datapath_um2=machine.area.total,
    )


@lru_cache(maxsize=KEPT_MODELS)
def _model(path: str, digest: str, train: bool, batch: int) -> ComparedModel:
    """The model of a file with that content, for every target and policy that it is compared under."""
    return load_compared_model(Path(path), train=train, batch=batch, weights=False)
