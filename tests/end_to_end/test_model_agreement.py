"""Whole networks: executor and stream give equal bytes, and the fp32 profile gives onnxruntime's outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
import onnx
import pytest

import flexc
from tests.end_to_end.engines import (
    POLICIES,
    require_close_engines,
    require_equal_bytes,
    require_onnxruntime_outputs,
)
from tests.end_to_end.light_models import LIGHT_MODELS, light_model
from tests.end_to_end.model_inputs import inputs_of
from tests.end_to_end.model_zoo import CIFAR, FULL, REDUCED, MakeModel

Inputs: TypeAlias = dict[str, npt.NDArray[Any]]

SLOW = {
    **{f"{name}-cifar": make for name, make in CIFAR.items()},
    **{f"{name}-full": make for name, make in FULL.items()},
    **{f"{name}-light": partial(light_model, name) for name in LIGHT_MODELS},
}
reduced_models = pytest.mark.parametrize("make", REDUCED.values(), ids=REDUCED)
slow_models = pytest.mark.parametrize("make", SLOW.values(), ids=SLOW)
policies = pytest.mark.parametrize("policy", POLICIES)


@contextmanager
def written(make: MakeModel) -> Iterator[tuple[Path, Inputs]]:
    """The model as a file that is gone afterwards (some have 500 MB), and inputs for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model = make()
        onnx.save(model, path)
        yield path, inputs_of(model)


def check_equal_bytes(make: MakeModel, policy: str) -> None:
    with written(make) as (path, inputs):
        require_equal_bytes(flexc.compile(path, policy=policy), inputs, POLICIES[policy])


def check_fp32(make: MakeModel) -> None:
    with written(make) as (path, inputs):
        program = flexc.compile(path, profile="fp32")
        require_onnxruntime_outputs(path, program, inputs)
        require_close_engines(program, inputs)


@policies
@reduced_models
def test_engines_give_equal_bytes(make: MakeModel, policy: str) -> None:
    check_equal_bytes(make, policy)


@pytest.mark.parametrize(
    ("options", "mantissa_bits"),
    [
        ({"policy": "FB12", "everywhere": True}, {4}),
        ({"policy": "FB16", "rounding": "truncate"}, {8}),
        ({"policy": "FB12", "rounding": "stochastic"}, {4, 16}),
        ({"policy": "FB16", "batchnorm": "fp32"}, {8}),
        ({"policy": "FB16A-FB12W", "target": "flexblock-edge"}, {4, 8, 16}),
        ({"policy": "FB24", "target": "flexblock-cloud"}, {16}),
    ],
    ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else "",
)
def test_engines_give_equal_bytes_with_other_options(
    options: dict[str, Any], mantissa_bits: set[int]
) -> None:
    with written(REDUCED["mobilenet_v1"]) as (path, inputs):
        require_equal_bytes(flexc.compile(path, **options), inputs, mantissa_bits)


@reduced_models
def test_fp32_is_near_onnxruntime_in_both_engines(make: MakeModel) -> None:
    check_fp32(make)


@pytest.mark.slow
@policies
@slow_models
def test_engines_give_equal_bytes_at_full_size(make: MakeModel, policy: str) -> None:
    check_equal_bytes(make, policy)


@pytest.mark.slow
@slow_models
def test_fp32_is_near_onnxruntime_in_both_engines_at_full_size(make: MakeModel) -> None:
    check_fp32(make)
