"""The legality checker rejects mappings that it must, and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flexc.ir.mapping import DIMS, Dim, Factor, Mapping, PeFactor
from flexc.mapping.legality import check
from flexc.mapping.nest_walk import walk
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.target import load_target
from tests.mapping_problems import conv_problem, matmul_problem, small_problems

FLEXBLOCK = load_target("flexblock")
ORDER: tuple[Dim, ...] = ("g", "n", "p", "q", "o", "k", "r", "s")

CONV = conv_problem((1, 16, 8, 8), 16, (3, 3), pad=1, group=(8, 8))
CONV_MAPPING = Mapping(
    "a",
    Factor("k", 12),
    Factor("o", 2),
    (PeFactor("chain", "r", 3), PeFactor("chain", "s", 3)),
    (Factor("p", 4), Factor("o", 2)),
    (1, 1, 1, 8, 4, 8, 3, 3),
    ORDER,
)
WEIGHT_GRAD = ContractionProblem(
    "conv",
    (1, 4, 3, 3, 8, 12, 6, 6),
    8,
    8,
    8,
    8,
    pass_="weight_grad",
    input_extents=(6, 6),
    pads=(1, 1, 1, 1),
)
WEIGHT_GRAD_MAPPING = replace(CONV_MAPPING, pes=(), cores=(Factor("o", 2),), tile=(1, 4, 3, 3, 4, 8, 2, 6))


def tile(mapping: Mapping, **extents: int) -> Mapping:
    """The mapping with other extents of a core's tile."""
    return replace(
        mapping, tile=tuple(extents.get(dim, old) for dim, old in zip(DIMS, mapping.tile, strict=True))
    )


def test_the_mappings_to_mutate_are_legal() -> None:
    assert check(CONV, CONV_MAPPING, FLEXBLOCK) == []
    assert check(WEIGHT_GRAD, WEIGHT_GRAD_MAPPING, FLEXBLOCK) == []


@pytest.mark.parametrize(
    ("problem", "mapping", "why"),
    [
        (CONV, tile(CONV_MAPPING, p=0), "tile of p: 0"),
        (CONV, tile(CONV_MAPPING, p=9), "tile of p: 9"),
        (CONV, tile(CONV_MAPPING, k=12), "does not fall between groups"),
        (CONV, tile(CONV_MAPPING, k=4), "does not fall between groups"),
        (CONV, tile(CONV_MAPPING, r=1), "PEs chain r|a window is never cut"),
        (CONV, replace(tile(CONV_MAPPING, r=1), pes=()), "a window is never cut"),
        (CONV, replace(tile(CONV_MAPPING, o=3), cores=(Factor("p", 4),)), "not pairs"),
        (CONV, replace(tile(CONV_MAPPING, o=2), cores=(Factor("p", 4),)), "groups of 4 channels"),
        (CONV, replace(CONV_MAPPING, order=("g", "n", "p", "q", "k", "o", "r", "s")), "must be innermost"),
        (CONV, replace(CONV_MAPPING, order=("g", "n", "p", "q", "o", "r", "k", "s")), "must be innermost"),
        (CONV, replace(CONV_MAPPING, order=("g", "n", "p", "q", "q", "k", "r", "s")), "does not name each"),
        (CONV, replace(CONV_MAPPING, lane=Factor("k", 13)), "13 lanes, a PE has 12"),
        (CONV, replace(CONV_MAPPING, lane=Factor("k", 0)), "0 lanes"),
        (CONV, replace(CONV_MAPPING, lane=Factor("o", 2)), "lanes reduce k"),
        (CONV, replace(CONV_MAPPING, unit=Factor("o", 3)), "3 units, a PE has 2"),
        (CONV, replace(CONV_MAPPING, unit=Factor("q", 2)), "units over q"),
        (CONV, replace(CONV_MAPPING, unit=Factor("k", 2)), "units over k"),
        (CONV, replace(CONV_MAPPING, stream="b"), "units over o"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("chain", "r", 3),)), "s inside it is not whole"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("chain", "k", 3),)), "is not whole"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("reduce", "r", 3),)), "PEs reduce r"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("chain", "o", 3),)), "which is not reduced"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("outputs", "k", 3),)), "which is reduced"),
        (CONV, replace(CONV_MAPPING, pes=(PeFactor("outputs", "o", 2),)), "factors are 1, 3 or 9"),
        (
            CONV,
            replace(CONV_MAPPING, pes=(PeFactor("outputs", "o", 9), PeFactor("chain", "s", 3))),
            "9 together",
        ),
        (
            CONV,
            replace(CONV_MAPPING, pes=(PeFactor("chain", "s", 3), PeFactor("chain", "s", 3))),
            "chain s twice",
        ),
        (CONV, replace(CONV_MAPPING, cores=(Factor("p", 4), Factor("o", 8))), "32 cores, the chip has 16"),
        (CONV, replace(CONV_MAPPING, cores=(Factor("k", 2),)), "never parts of one"),
        (CONV, replace(CONV_MAPPING, cores=(Factor("p", 2), Factor("p", 2))), "named twice"),
        (CONV, replace(CONV_MAPPING, cores=(Factor("q", 2),)), "rows p are split first"),
        (
            CONV,
            replace(CONV_MAPPING, cores=(Factor("p", 2), Factor("o", 2), Factor("n", 2), Factor("g", 2))),
            "at most 3",
        ),
        (WEIGHT_GRAD, tile(WEIGHT_GRAD_MAPPING, k=12), "several segments of k"),
        (WEIGHT_GRAD, tile(WEIGHT_GRAD_MAPPING, s=3), "several rows"),
        (replace(CONV, b_bits=16), CONV_MAPPING, "2 units, a PE has 1"),
        (replace(CONV, b_bits=4), CONV_MAPPING, "operand a streams"),
        (
            matmul_problem(1, 64, 108, 64),
            Mapping("a", Factor("k", 12), Factor("o", 2), (), (), (1, 1, 64, 1, 64, 108, 1, 1), ORDER),
            "psum buffer: a tile takes 16384 bytes, 10240 are there",
        ),
        (
            matmul_problem(1, 64, 540, 4),
            Mapping("a", Factor("k", 12), Factor("o", 2), (), (), (1, 1, 64, 1, 4, 540, 1, 1), ORDER),
            "operand buffer: a tile takes 34880 bytes",
        ),
        (
            matmul_problem(1, 4, 540, 64),
            Mapping("a", Factor("k", 12), Factor("o", 2), (), (), (1, 1, 4, 1, 64, 540, 1, 1), ORDER),
            "held buffer: a tile takes 34880 bytes",
        ),
        (
            ContractionProblem("matmul", (1, 1, 2, 1, 2, 600, 1, 1), 16, 16, 600, 600),
            Mapping("a", Factor("k", 6), Factor("o", 1), (), (), (1, 1, 2, 1, 2, 600, 1, 1), ORDER),
            "may overflow an accumulator",
        ),
        (
            conv_problem((1, 8, 8, 8), 8, (3, 3), pad=1, groups=8, bits=(16, 16)),
            Mapping("a", Factor("g", 6), Factor("g", 1), (), (), (8, 1, 8, 8, 1, 1, 3, 3), ORDER),
            "a PE has 4 fp32 adders",
        ),
        (
            conv_problem((1, 12, 8, 8), 12, (3, 3), pad=1, groups=12),
            Mapping(
                "a", Factor("g", 2), Factor("g", 2), (), (Factor("g", 2),), (3, 1, 8, 8, 1, 1, 3, 3), ORDER
            ),
            "groups of 4 channels",
        ),
    ],
)
def test_rejects(problem: ContractionProblem, mapping: Mapping, why: str) -> None:
    found = check(problem, mapping, FLEXBLOCK)
    assert any(part in text for part in why.split("|") for text in found), found


@pytest.mark.parametrize(
    "mapping",
    [
        replace(CONV_MAPPING, pes=(PeFactor("chain", "k", 9),)),
        replace(CONV_MAPPING, pes=(PeFactor("chain", "r", 3),)),
        replace(CONV_MAPPING, order=("g", "n", "p", "q", "o", "r", "k", "s"), tile=(1, 1, 1, 8, 4, 8, 1, 3)),
        replace(CONV_MAPPING, order=("g", "n", "p", "q", "o", "r", "s", "k"), tile=(1, 1, 1, 8, 4, 8, 1, 1)),
        tile(CONV_MAPPING, k=4),
        tile(CONV_MAPPING, k=12),
        tile(CONV_MAPPING, k=16, r=1),
        tile(CONV_MAPPING, s=2),
    ],
)
def test_the_walk_alone_finds_segments_out_of_order(mapping: Mapping) -> None:
    problem = CONV if mapping.pes[0].dim != "k" else replace(CONV, a_group=2, b_group=2)
    if mapping.pes[0].dim == "k":
        mapping = tile(mapping, k=16)
    assert any("segment" in text for text in walk(problem, mapping))


@pytest.mark.parametrize(
    ("order", "times"),
    [
        (("g", "n", "p", "q", "o", "k", "p", "r", "s"), "done 8 times"),
        (("g", "n", "q", "o", "k", "r", "s"), "done 0"),
    ],
)
def test_the_walk_alone_counts_macs(order: tuple[Dim, ...], times: str) -> None:
    assert walk(CONV, replace(CONV_MAPPING, cores=(Factor("p", 3), Factor("o", 2)))) == []
    assert any(times in text for text in walk(CONV, replace(CONV_MAPPING, order=order)))


def _double_lanes(mapping: Mapping) -> Mapping:
    return replace(mapping, lane=Factor(mapping.lane.dim, mapping.lane.factor * 25))


def _double_cores(mapping: Mapping) -> Mapping:
    return replace(mapping, cores=(*mapping.cores, Factor("k", 2)))


def _reduce_outputs(mapping: Mapping) -> Mapping:
    return replace(mapping, pes=(PeFactor("reduce", "o", 3),))


def _k_outside(mapping: Mapping) -> Mapping:
    return replace(mapping, order=("k", *(dim for dim in mapping.order if dim != "k")))


def _window_before_k(mapping: Mapping) -> Mapping:
    return replace(mapping, order=(*mapping.order[:5], "r", "s", "k"))


def _too_many_pes(mapping: Mapping) -> Mapping:
    return replace(mapping, pes=(PeFactor("outputs", "o", 9), PeFactor("outputs", "p", 9)))


def _unit_over_reduced(mapping: Mapping) -> Mapping:
    return replace(mapping, unit=Factor("r", mapping.unit.factor))


def _grow_tile(mapping: Mapping) -> Mapping:
    return replace(mapping, tile=tuple(extent + 1000 for extent in mapping.tile))


MUTATIONS: tuple[Callable[[Mapping], Mapping], ...] = (
    _double_lanes,
    _double_cores,
    _reduce_outputs,
    _k_outside,
    _window_before_k,
    _too_many_pes,
    _unit_over_reduced,
    _grow_tile,
)


@settings(max_examples=120, deadline=None)
@given(small_problems(), st.sampled_from(MUTATIONS))
def test_mutations_are_rejected(problem: ContractionProblem, mutate: Callable[[Mapping], Mapping]) -> None:
    mapping = search(problem, FLEXBLOCK)
    assert check(problem, mapping, FLEXBLOCK) == []
    assert check(problem, mutate(mapping), FLEXBLOCK) != []


@settings(max_examples=120, deadline=None)
@given(small_problems(), st.integers(1, 39))
def test_cuts_of_k_inside_a_group_are_rejected(problem: ContractionProblem, k: int) -> None:
    cut_at = [*range(problem.a_group, 200, problem.a_group)], [*range(problem.b_group, 200, problem.b_group)]
    assume(k < problem.extent("k") and (k not in cut_at[0] or k not in cut_at[1]))
    mapping = tile(replace(search(problem, FLEXBLOCK), pes=()), k=k)
    assert check(problem, mapping, FLEXBLOCK) != []
