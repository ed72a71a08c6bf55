"""The search against every legal mapping there is: its pruning loses no cycle on small layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flexc.cost.clock import estimate
from flexc.ir.mapping import DIMS, Mapping
from flexc.mapping import legality
from flexc.mapping.array_options import array_options
from flexc.mapping.gradients import OperandGroups, local_grad_problems, weight_grad_problem
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.target import Target, load_target
from tests.exhaustive_mappings import arrays, best_order, tilings
from tests.mapping_problems import conv_problem, matmul_problem

EDGE = load_target("flexblock-edge")
TWO_CORES = replace(EDGE, cores=2, dram_latency_cycles=3)
NO_LATENCY = replace(TWO_CORES, dram_latency_cycles=0, pipeline_fill_cycles=0, operand_buffer_bytes=64)
NARROW_DRAM = replace(TWO_CORES, dram_bytes_per_second=5e7)
ONE_CORE = replace(EDGE, cores=1, operand_buffer_bytes=80, psum_buffer_bytes=64)


def fewest_cycles(problem: ContractionProblem, target: Target) -> tuple[int, int]:
    """Cycles of the best of all legal mappings, and how many of them there are (orders not counted)."""
    found, legal = [], 0
    reference = array_options(problem, target)[0]
    uses = list(arrays(problem, target))
    for tiling in tilings(problem, target):
        plain = Mapping(reference.stream, reference.lane, reference.unit, (), *tiling, DIMS)
        if legality.check(problem, plain, target):
            continue
        order = best_order(
            problem, target, (reference.stream, reference.lane, reference.unit, ()), tiling
        ).order
        for use in uses:
            mapping = Mapping(*use, *tiling, order)
            if not legality.check(problem, mapping, target):
                legal += 1
                found.append(estimate(problem, mapping, target).cycles)
    return min(found), legal


GROUPS = OperandGroups(16, 2)
STRIDED = conv_problem((1, 2, 4, 4), 2, (3, 3), stride=2, pad=1, bits=(16, 16), group=(2, 2))
UNPADDED = conv_problem((2, 2, 3, 3), 2, (2, 2), bits=(16, 16), group=(2, 2))
CASES: dict[str, tuple[ContractionProblem, Target]] = {
    "linear": (matmul_problem(1, 3, 8, 4, (16, 16)), TWO_CORES),
    "linear, tiny buffers": (matmul_problem(1, 5, 12, 4, (16, 16)), ONE_CORE),
    "linear, slow DRAM": (matmul_problem(2, 3, 8, 4, (16, 16)), NARROW_DRAM),
    "attention": (matmul_problem(3, 2, 4, 3, (8, 16)), TWO_CORES),
    "1x1": (conv_problem((2, 4, 2, 2), 4, (1, 1), bits=(16, 16), group=(2, 2)), NO_LATENCY),
    "3x3": (conv_problem((1, 4, 3, 3), 4, (3, 3), pad=1, bits=(16, 16), group=(2, 4)), TWO_CORES),
    "depthwise": (conv_problem((1, 8, 3, 3), 8, (3, 3), pad=1, groups=8, bits=(16, 16)), TWO_CORES),
    "local gradient": (local_grad_problems(STRIDED, GROUPS, GROUPS)[0], TWO_CORES),
    "weight gradient": (weight_grad_problem(UNPADDED, GROUPS, GROUPS), TWO_CORES),
}


QUICK = ("linear, tiny buffers", "local gradient")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_pruning_loses_no_cycle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, target = CASES[name]
    found = search(problem, target)
    assert legality.check(problem, found, target) == []
    monkeypatch.setattr(legality, "WALKED_MACS", 0)
    fewest, legal = fewest_cycles(problem, target)
    assert legal > 1000
    assert estimate(problem, found, target).cycles == fewest
