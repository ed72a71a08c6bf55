"""The energy of a scheduled group, from its ops and from what the timing simulation saw it do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.ir import Operation

from flexc.backends.stream.timeline import GroupTiming
from flexc.cost.clock import estimate
from flexc.cost.dequantization import dequantization
from flexc.cost.energy import array_energy, dram_energy, lane_energy
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.ir import bfp
from flexc.ir.bfp import BlockTensorType
from flexc.passes.map_contractions import mappings_of, problems_of
from flexc.target.machine import Target


def group_energy(ops: Sequence[Operation], timing: GroupTiming, target: Target) -> EnergyBreakdown:
    """What a group takes in all components, pJ; every rate and energy is the target's assumption.

    Contractions and dequantizations are closed forms. DRAM and its side of the buffers count the bytes that
    were moved; converter, vector unit and LightNorm unit the elements that their records are about.
    """
    found = [dram_energy(target, timing.read_bytes + timing.written_bytes)]
    lanes = {engine: use.lane_cycles for engine, use in timing.engines.items()}
    found.append(
        lane_energy(
            target,
            vector_cycles=lanes.get("vector", 0),
            converted=lanes.get("converter", 0),
            through_lightnorm=lanes.get("lightnorm", 0),
        )
    )
    for op in ops:
        if isinstance(op, bfp.DequantizeOp):
            assert isinstance(op.x.type, BlockTensorType)
            bits = op.x.type.format.mantissa_bits
            found.append(dequantization(prod(op.x.type.get_shape()), bits, target).energy)
        elif isinstance(op, bfp.CONTRACTIONS):
            found += (
                array_energy(problem, mapping, target, estimate(problem, mapping, target))
                for problem, mapping in zip(problems_of(op), mappings_of(op), strict=True)
            )
    return sum(found, EnergyBreakdown())
