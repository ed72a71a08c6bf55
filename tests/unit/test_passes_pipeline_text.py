"""Pipelines as text: what parses, what comes back, what is refused and with which hint."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexc.diagnostics import CompileError
from flexc.numerics.block_float import Rounding
from flexc.options import BatchNorm, CompileOptions, Profile
from flexc.passes.canonicalize import Canonicalize
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.passes.differentiate import Differentiate
from flexc.passes.fuse_lightnorm import FuseLightNorm, LightNormRounding
from flexc.passes.insert_quantize import InsertQuantize
from flexc.passes.pipeline_text import parse_pipeline, pipeline_text
from flexc.passes.pipelines import (
    inference_pipeline,
    machine_pipeline,
    precision_pipeline,
    rebuilding_pipeline,
    training_pipeline,
)
from flexc.passes.registry import PASS_NAMES, pass_class


def test_options_have_types() -> None:
    options = 'policy = "my \\"own\\" policy.toml" everywhere=true rounding=truncate seed=7'
    text = f" insert-quantize{{{options} }} , cse,"
    with pytest.raises(CompileError, match="FX304"):
        parse_pipeline(text)
    quantize, _ = parse_pipeline(text[:-1])
    assert quantize == InsertQuantize('my "own" policy.toml', True, Rounding.TRUNCATE, 7)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1),
    st.booleans(),
    st.none() | st.sampled_from(Rounding),
    st.integers(0, 2**32 - 1),
    st.sampled_from(LightNormRounding),
)
def test_text_reads_back(
    policy: str, everywhere: bool, rounding: Rounding | None, seed: int, lightnorm: LightNormRounding
) -> None:
    passes = (FuseLightNorm(lightnorm), InsertQuantize(policy, everywhere, rounding, seed))
    assert parse_pipeline(pipeline_text(passes)) == passes


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("canonicalise", "FX301", "did you mean 'canonicalize'?"),
        ("nonsense", "FX301", "the passes are"),
        ("insert-quantize{polcy=FB12}", "FX302", "did you mean 'policy'?"),
        ("cse{fast=true}", "FX302", "it has no options"),
        ("insert-quantize{seed=1 seed=2}", "FX302", "twice"),
        ("insert-quantize{seed=many}", "FX303", "an integer"),
        ("insert-quantize{everywhere=yes}", "FX303", "true or false"),
        ("fuse-lightnorm{rounding=stochastic}", "FX303", "nearest, truncate"),
        ("cse,,cse", "FX304", "before ',cse'"),
        ("cse cse", "FX304", "expected ','"),
        ("cse{", "FX304", "at the end"),
        ("insert-quantize{policy}", "FX304", "expected '='"),
    ],
)
def test_what_is_no_pipeline(text: str, code: str, part: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_pipeline(text)
    assert f"error[{code}]" in str(caught.value)
    assert part in str(caught.value)


def test_an_empty_pipeline_has_no_passes() -> None:
    assert parse_pipeline("  ") == ()


@pytest.mark.parametrize("name", PASS_NAMES)
def test_every_pass_is_found_and_runs_by_its_name_alone(name: str) -> None:
    found = pass_class(name)
    assert str(found()) == name
    assert all(field.default is not field.default_factory for field in fields(found))


def test_pipelines_follow_the_options() -> None:
    def text(**options: object) -> str:
        return pipeline_text(precision_pipeline(CompileOptions(**options)))  # type: ignore[arg-type]

    assert text() == "fuse-lightnorm,insert-quantize,cse,fold-quantized-weights"
    assert "fuse-lightnorm" not in text(batchnorm=BatchNorm.FP32)
    assert "insert-quantize{policy=FB12 everywhere=true rounding=truncate}" in text(
        policy="FB12", everywhere=True, rounding="truncate"
    )


def test_the_fp32_profile_quantizes_nothing() -> None:
    fp32 = inference_pipeline(CompileOptions(profile=Profile.FP32))
    assert fp32 == (*rebuilding_pipeline(), *machine_pipeline("flexblock"))
    assert not {"insert-quantize", "fuse-lightnorm"} & {one.name for one in fp32}


@pytest.mark.parametrize("name", PASS_NAMES)
def test_every_pass_is_documented(name: str) -> None:
    docs = Path(__file__).parents[2] / "docs" / "passes.md"
    assert f"| `{name}` |" in docs.read_text(encoding="utf-8")


def test_a_training_step_is_differentiated_in_fp32() -> None:
    names = [one.name for one in training_pipeline(CompileOptions(), Differentiate())]
    assert names.index("differentiate") < names.index("fuse-lightnorm") < names.index("insert-quantize")
    fp32 = training_pipeline(CompileOptions(profile=Profile.FP32), Differentiate())
    assert fp32[-3:] == (Differentiate(), Canonicalize(), EliminateCommonSubexpressions())
