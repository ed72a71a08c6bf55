"""Operators of the importer in a training step: their gradients by finite differences, or why none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from tests.operator_cases import NODE, OPERATOR_CASES, OperatorCase, Untrained
from tests.operator_forms import FORMS, Form

Array: TypeAlias = npt.NDArray[Any]
TRAINED = [name for name, case in OPERATOR_CASES.items() if case.untrained is None]
NOTHING_LEFT = {"Cast", "Identity"}
"""Of fp32 to fp32 the importer takes their operand for the result."""
UNTRAINED = [name for name, case in OPERATOR_CASES.items() if case.untrained is not None]


def step_of(operator: str, case: OperatorCase, folder: Path, loss: str = "", micro_batches: int = 1) -> Graph:
    """The gradients of the parameters p0, p1, ... of the case's own loss, or of ``loss``."""
    graph = load_model(save(case.model(operator), folder), training=True)
    loss = loss or ("output" if case.is_loss else "mean-squared-error")
    training = TrainingOptions(loss=loss, train="p?", part="gradients", micro_batches=micro_batches)
    options = CompileOptions(profile=Profile.FP32, training=training)
    run_pipeline(graph, training_pipeline(options, differentiation_of(training)), verify_each=True)
    return graph


def test_every_operator_has_a_case() -> None:
    assert set(OPERATOR_CASES) == set(OPERATORS)


def test_every_form_of_an_operator_has_a_case() -> None:
    cases = [(name, OPERATOR_CASES[name]) for name in TRAINED] + [(one.operator, one.case) for one in FORMS]
    found = {(name, max(since for since in OPERATORS[name] if since <= case.opset)) for name, case in cases}
    assert found == {
        (name, since) for name in TRAINED for since, importer in OPERATORS[name].items() if importer
    }


@pytest.mark.parametrize("operator", TRAINED)
def test_gradients_of_operators_by_finite_differences(operator: str, tmp_path: Path) -> None:
    check_gradients(operator, OPERATOR_CASES[operator], tmp_path)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.operator}, {form.what}")
def test_gradients_of_forms_by_finite_differences(form: Form, tmp_path: Path) -> None:
    check_gradients(form.operator, form.case, tmp_path)


def check_gradients(operator: str, case: OperatorCase, folder: Path) -> None:
    """Of the parameters of a training step of the operator, against onnx's evaluator in fp64."""
    graph = step_of(operator, case, folder)
    inputs = case.inputs()
    spelling, exact_case = case.in_onnx or (operator, case)
    exact = in_double(exact_case.model(spelling))
    y = exact(inputs)["y"]
    targets = np.random.default_rng(6).standard_normal(y.shape).astype(np.float32)

    def loss(*point: Array) -> float:
        y = exact(dict(zip(inputs, point, strict=True)))["y"]
        return float(y) if case.is_loss else float(np.mean((y - targets) ** 2))

    check_step(
        graph, {**inputs, "targets": targets}, loss(*inputs.values()), slopes(loss, [*inputs.values()])
    )


def check_step(graph: Graph, inputs: Mapping[str, Array], loss: float, gradients: Sequence[Array]) -> None:
    """Runs a step and compares its loss, and the gradients of p0, p1, ..., with those expected."""
    carried = {name: np.asarray(graph.weights.get(name)) for name in carried_names(graph.main)}
    given = {**inputs, "step": np.asarray(1, np.int64), **carried}
    found = evaluate(graph, {name: given[name] for name in graph.input_names})
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-6)
    for i, gradient in enumerate(gradients):
        largest = float(np.abs(gradient).max())
        assert largest > 0
        np.testing.assert_allclose(found[f"p{i}/gradient"], gradient, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3)])
@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("operator", ["Identity", "Softmax", "LogSoftmax"])
def test_cross_entropy_by_finite_differences(
    operator: str, micro_batches: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Of logits, which a softmax at the end of the model does not change."""
    case = OperatorCase((shape,))
    labels = np.random.default_rng(7).integers(0, 3, shape[:-1])
    x = case.inputs()["x0"]
    p = case.parameters()["p0"].astype(np.float64)

    def loss(x: Array) -> float:
        exponentials = np.exp(x + p)
        shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
        return float(-np.log(np.take_along_axis(shares, labels[..., np.newaxis], -1)).mean())

    graph = step_of(operator, case, tmp_path, "cross-entropy", micro_batches)
    gradients = [slope / micro_batches for slope in slopes(loss, [x])]
    check_step(graph, {"x0": x, "labels": labels}, loss(x.astype(np.float64)), gradients)


@pytest.mark.parametrize("operator", UNTRAINED)
def test_operators_that_no_gradient_passes(operator: str, tmp_path: Path) -> None:
    known = OPERATOR_CASES[operator].untrained is Untrained.KNOWN_OPERANDS
    with pytest.raises(CompileError) as refusal:
        step_of(operator, OPERATOR_CASES[operator], tmp_path)
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
        step_of(operator, OPERATOR_CASES[operator], tmp_path)
    (found,) = refusal.value.diagnostics
    assert found.code == "FX342"
    assert_names_the_node(found.place, operator)


def assert_names_the_node(place: Place, operator: str) -> None:
    assert (place.node_name, place.op_type) == (NODE, operator)
    assert place.node_index == len(OPERATOR_CASES[operator].shapes)
