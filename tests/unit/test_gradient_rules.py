"""Gradient rules: total over the float ops, right against PyTorch and against the slopes of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.ir import SSAValue

from flexc.diagnostics import CompileError
from flexc.ir import nn, train
from flexc.ir.kernel_calls import TRAINING_OPS
from flexc.ir.program import parse_module
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.rules import GRADIENT_RULES
from tests.evaluate import evaluate
from tests.gradient_cases import CASES, Case, graph_of

TRUTH_VALUES = {nn.EqualOp, nn.GreaterOp, nn.LessOp}
"""Their results are no fp32, and no gradient reaches them."""


def ids(case: Case) -> str:
    return case.name


def test_every_float_op_has_a_rule() -> None:
    wanted = set(nn.NN.operations) - TRUTH_VALUES - TRAINING_OPS - {nn.ConstantOp}
    assert set(GRADIENT_RULES) == wanted | {train.BatchNormOp}


def test_every_rule_has_a_case() -> None:
    assert {op for case in CASES for op in graph_of(case)[1]} >= set(GRADIENT_RULES)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_gradient_graphs_verify_and_parse_back(case: Case) -> None:
    module = graph_of(case)[0].module
    module.verify()
    text = str(module)
    assert str(parse_module(text)) == text


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_rule_against_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    graph, _ = graph_of(case)
    inputs = case.inputs()
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    y = case.torch(torch, *tensors)
    g = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype(np.float32)
    if y.requires_grad:
        y.backward(torch.tensor(g, dtype=y.dtype))
    names = [f"x{i}" for i in range(len(inputs))]
    found = evaluate(graph, {**dict(zip(names, inputs, strict=True)), "g": g})
    assert_close(found["y"], y.detach().numpy())
    for name, tensor in zip(names, tensors, strict=True):
        expected = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        assert_close(found[f"d{name}"], expected)


def assert_close(found: Any, expected: Any) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1e-30, float(np.abs(expected).max())))


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "floor"], ids=ids)
def test_rule_against_the_slope_of_the_kernel(case: Case) -> None:
    graph, _ = graph_of(case)
    inputs = case.inputs(seed=3)
    names = [f"x{i}" for i in range(len(inputs))]
    rng = np.random.default_rng(4)
    y = evaluate(graph, {**dict(zip(names, inputs, strict=True)), "g": _zeros_of_y(graph)})["y"]
    g = rng.standard_normal(y.shape).astype(np.float32)
    gradients = evaluate(graph, {**dict(zip(names, inputs, strict=True)), "g": g})
    for which, name in enumerate(names):
        along = rng.standard_normal(inputs[which].shape).astype(np.float32)
        slopes = []
        # The error of a central difference falls with the square of its width: two of them give the limit.
        for width in (2.0**-9, 2.0**-10):
            moved = []
            for sign in (1, -1):
                changed = list(inputs)
                changed[which] = (inputs[which] + np.float32(sign * width) * along).astype(np.float32)
                given = {**dict(zip(names, changed, strict=True)), "g": g}
                moved.append(np.vdot(evaluate(graph, given)["y"].astype(np.float64), g))
            slopes.append((moved[0] - moved[1]) / (2 * width))
        expected = (4 * slopes[1] - slopes[0]) / 3
        found = np.vdot(gradients[f"d{name}"].astype(np.float64), along)
        scale = np.linalg.norm(gradients[f"d{name}"]) * np.linalg.norm(along)
        assert abs(found - expected) < 3e-3 * scale + 1e-6, name


def _zeros_of_y(graph: Any) -> Any:
    return np.zeros(tuple(graph.main.body.block.args[-1].type.get_shape()), np.float32)


def test_terms_are_added_last_use_first() -> None:
    def build(b: Builder, x: SSAValue) -> SSAValue:
        first, second = (b.op(nn.MulOp, x, b.scalar(factor)) for factor in (1.0, -1e8))
        return b.op(nn.AddOp, b.op(nn.AddOp, first, second), b.op(nn.MulOp, x, b.scalar(1e8)))

    graph, _ = graph_of(Case("uses", build, abs, ((1,),)))
    one = np.ones(1, np.float32)
    assert evaluate(graph, {"x0": one, "g": one})["dx0"] == 1


def test_gradients_of_unwanted_operands_are_not_computed() -> None:
    case = Case(
        "w", lambda b, x: b.op(nn.MatMulOp, x, b.constant(np.ones((4, 3), np.float32), "w")), abs, ((2, 4),)
    )
    graph, _ = graph_of(case)
    assert str(graph.module).count("nn.matmul") == 2


def test_an_op_without_a_rule_is_the_users_error() -> None:
    with pytest.raises(CompileError, match="FX342"):
        graph_of(Case("unknown", _unknown, abs, ((2, 3, 4),)))


def _unknown(b: Builder, x: SSAValue) -> SSAValue:
    return b.op(
        nn.ReduceMaxGradOp, b.op(nn.ReduceMaxOp, x, axes=(1,), keepdims=True), x, axes=(1,), keepdims=True
    )
