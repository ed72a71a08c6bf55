"""Policies written as files read back as the same policies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.precision.layers import LayerKind
from flexc.precision.loading import catalog_names, load_policy
from flexc.precision.policy import POINTS, NamedFormat, Operand, Override, Policy, Setting, TrainingPass
from flexc.precision.policy_file import BUILT_IN_FORMATS, parse_policy
from flexc.precision.policy_text import policy_text

TARGETS = [
    (None, None),
    *((None, operand) for operand in Operand),
    *((pass_, None) for pass_ in TrainingPass),
    *POINTS.values(),
]
OWN = NamedFormat('my "own"\n', BlockFormat(3, Sign.SEPARATE), 7)


@st.composite
def rules(draw: st.DrawFn) -> tuple[Setting, ...]:
    found = []
    for pass_, operand in TARGETS:
        if draw(st.booleans()):
            one = Setting(
                pass_,
                operand,
                draw(st.sampled_from([None, OWN, *BUILT_IN_FORMATS.values()])),
                draw(st.sampled_from([None, *Rounding])),
                draw(st.none() | st.integers(1, 99)),
                draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9))) if operand else None,
            )
            found += [one] if one != Setting(pass_, operand) else []
    return tuple(found)


@st.composite
def overrides(draw: st.DrawFn) -> Override:
    return Override(
        draw(rules().filter(bool)),
        node=draw(st.text(st.characters(codec="utf-8"))),
        first=draw(st.none() | st.booleans()),
        last=draw(st.none() | st.booleans()),
        kind=draw(st.none() | st.sampled_from(LayerKind)),
    )


@given(rules(), st.lists(overrides(), max_size=3), st.text(st.characters(codec="utf-8")))
@settings(max_examples=60, deadline=None)
def test_text_reads_back(default: tuple[Setting, ...], more: list[Override], name: str) -> None:
    narrow = (one for one in default if (one.pass_, one.operand) != (None, None))
    policy = Policy(name, 'd"\\', (Setting(format=OWN), *narrow), tuple(more))
    assert parse_policy(policy_text(policy), "p.toml") == policy


@pytest.mark.parametrize("name", catalog_names())
def test_the_catalog_reads_back(name: str) -> None:
    policy = load_policy(name)
    assert parse_policy(policy_text(policy), "p.toml") == policy
