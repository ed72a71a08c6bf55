"""What a point costs: the closed form of ``flexc compare``, without weights."""

from __future__ import annotations

from pathlib import Path

from flexc.analysis.comparison.iso import Iso
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.analysis.comparison.run import DEFAULT_SYSTEM, NEUTRAL_POLICY, machine_of
from flexc.analysis.sweeping.point import Point
from flexc.analysis.sweeping.store import Cost
from flexc.options import BatchNorm
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names

PJ_PER_UJ = 1e6


def evaluate(point: Point) -> Cost:
    """The cost of ``point``: a baseline as it is, beside the system of the default target.

    Raises CompileError for a model, a policy or a target that is wrong, and for what cannot be mapped.
    """
    is_baseline = point.target in baseline_names()
    machine = machine_of(point.target, load_target(DEFAULT_SYSTEM if is_baseline else point.target), Iso.NONE)
    model = load_compared_model(Path(point.model), train=point.train, batch=point.batch, weights=False)
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
