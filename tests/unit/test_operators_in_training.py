"""Operators of the importer in a training step: their gradients by finite differences, or why none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from flexc.diagnostics import CompileError, Place
from flexc.importer import load_model
from flexc.importer.operators import OPERATORS
from flexc.ir.program import Graph, carried_names
from flexc.options import CompileOptions, Profile, TrainingOptions
from flexc.passes import differentiate
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import differentiation_of, training_pipeline
from tests.double_precision import in_double, slopes
from tests.evaluate import evaluate
from tests.onnx_models import save
from tests.operator_cases import NODE, OPERATOR_CASES, Untrained

Array: TypeAlias = npt.NDArray[Any]
TRAINED = [name for name, case in OPERATOR_CASES.items() if case.untrained is None]
NOTHING_LEFT = {"Cast", "Identity"}
"""Of fp32 to fp32 the importer takes their operand for the result."""
UNTRAINED = [name for name, case in OPERATOR_CASES.items() if case.untrained is not None]


def step_of(operator: str, folder: Path) -> Graph:
    """The gradients of the parameters p0, p1, ..."""
    case = OPERATOR_CASES[operator]
    graph = load_model(save(case.model(operator), folder), training=True)
    loss = "output" if case.is_loss else "mean-squared-error"
    training = TrainingOptions(loss=loss, train="p?", part="gradients")
    options = CompileOptions(profile=Profile.FP32, training=training)
    run_pipeline(graph, training_pipeline(options, differentiation_of(training)), verify_each=True)
    return graph


def test_every_operator_has_a_case() -> None:
    assert set(OPERATOR_CASES) == set(OPERATORS)


@pytest.mark.parametrize("operator", TRAINED)
def test_gradients_of_operators_by_finite_differences(operator: str, tmp_path: Path) -> None:
    case = OPERATOR_CASES[operator]
    graph = step_of(operator, tmp_path)
    inputs = case.inputs()
    spelling, exact_case = case.in_onnx or (operator, case)
    exact = in_double(exact_case.model(spelling))
    y = exact(inputs)["y"]
    targets = np.random.default_rng(6).standard_normal(y.shape).astype(np.float32)

    def loss(*point: Array) -> float:
        y = exact(dict(zip(inputs, point, strict=True)))["y"]
        return float(y) if case.is_loss else float(np.mean((y - targets) ** 2))

    expected = slopes(loss, list(inputs.values()))
    carried = {name: np.asarray(graph.weights.get(name)) for name in carried_names(graph.main)}
    given = {**inputs, "targets": targets, "step": np.asarray(1, np.int64), **carried}
    found = evaluate(graph, {name: given[name] for name in graph.input_names})
    np.testing.assert_allclose(found["loss"], loss(*inputs.values()), rtol=1e-6)
    for i, slope in enumerate(expected):
        largest = float(np.abs(slope).max())
        assert largest > 0
        np.testing.assert_allclose(found[f"p{i}/gradient"], slope, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("operator", UNTRAINED)
def test_operators_that_no_gradient_passes(operator: str, tmp_path: Path) -> None:
    known = OPERATOR_CASES[operator].untrained is Untrained.KNOWN_OPERANDS
    with pytest.raises(CompileError) as refusal:
        step_of(operator, tmp_path)
    (found,) = refusal.value.diagnostics
    assert found.code == ("FX206" if known else "FX345")
    if known:
        assert_names_the_node(found.place, operator)


@pytest.mark.parametrize("operator", [name for name in TRAINED if name not in NOTHING_LEFT])
def test_an_operator_without_a_rule_is_named(
    operator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differentiate, "GRADIENT_RULES", {})
    with pytest.raises(CompileError) as refusal:
        step_of(operator, tmp_path)
    (found,) = refusal.value.diagnostics
    assert found.code == "FX342"
    assert_names_the_node(found.place, operator)


def assert_names_the_node(place: Place, operator: str) -> None:
    assert (place.node_name, place.op_type) == (NODE, operator)
    assert place.node_index == len(OPERATOR_CASES[operator].shapes)
