"""Gradient rules: total over the float ops, right against PyTorch and by finite differences in fp64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.ir import SSAValue

from flexc.diagnostics import CompileError
from flexc.exporter.export import onnx_model
from flexc.ir import nn, train
from flexc.ir.kernel_calls import TRAINING_OPS
from flexc.ir.program import parse_module
from flexc.passes.dead_code import erase_dead_ops
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.rules import GRADIENT_RULES
from flexc.passes.expand_batch_norm import ExpandBatchNorm
from tests.double_precision import in_double, slopes
from tests.evaluate import evaluate
from tests.gradient_cases import CASES, Case, forward_of, graph_of

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


def assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Within ``tolerance`` of the largest magnitude."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    scale = max(1e-30, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_rule_by_finite_differences_in_fp64(case: Case) -> None:
    forward = forward_of(case)
    # The batch's statistics are no ONNX op's results where the gradient is to see through them.
    ExpandBatchNorm().run(forward)
    erase_dead_ops(forward)
    exact = in_double(onnx_model(forward))
    inputs = {f"x{i}": x for i, x in enumerate(case.inputs(seed=3))}
    y = exact(inputs)["y"]
    g = np.random.default_rng(4).standard_normal(y.shape).astype(np.float32)
    expected = slopes(
        lambda *point: float(np.vdot(g, exact(dict(zip(inputs, point, strict=True)))["y"])),
        list(inputs.values()),
    )
    found = evaluate(graph_of(case)[0], {**inputs, "g": g})
    assert_close(found["y"], y, tolerance=1e-6)
    for name, slope in zip(inputs, expected, strict=True):
        assert_close(found[f"d{name}"], slope, tolerance=1e-6)


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
