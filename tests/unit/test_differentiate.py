"""The differentiate pass: signature, choice of weights, updates by the text, roles, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc import numerics
from flexc.diagnostics import CompileError
from flexc.ir.program import PARAMETERS, STATE, Graph, names_of, parse_module
from flexc.ir.train import role_of
from flexc.passes.differentiate import Differentiate
from flexc.passes.differentiation.kept import kept_for_backward
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.optimizer import OptimizerName
from flexc.passes.pipeline_text import parse_pipeline
from tests.evaluate import evaluate
from tests.training_models import small_mobilenet, small_resnet
from tests.training_steps import Trainer, trainer, trainer_of

TEXT = """
func.func @main(%x: tensor<4x3xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>)
    attributes {inputs = ["x"], outputs = ["p", "scaled"]} {
  %w = nn.constant "w" : tensor<3x2xf32>
  %b = nn.constant "b" : tensor<2xf32>
  %half = nn.constant "half" : tensor<2xf32>
  %logits = nn.matmul %x, %w bias %b {source = #nn.source<"fc", "Gemm", 0>}
    : tensor<4x3xf32>, tensor<3x2xf32>, tensor<2xf32> -> tensor<4x2xf32>
  %scaled = nn.mul %logits, %half : tensor<4x2xf32>, tensor<2xf32> -> tensor<4x2xf32>
  %p = nn.softmax %scaled {axis = 1 : i64} : tensor<4x2xf32> -> tensor<4x2xf32>
  func.return %p, %scaled : tensor<4x2xf32>, tensor<4x2xf32>
}
"""
W = np.array([[0.5, -1], [2, 0.25], [-0.75, 1]], np.float32)
B = np.array([0.5, -0.5], np.float32)
HALF = np.array([0.5, 0.25], np.float32)


def linear() -> Graph:
    graph = Graph(parse_module(TEXT), file="linear.onnx")
    for key, array in (("w", W), ("b", B), ("half", HALF)):
        graph.weights.add(key, array)
    return graph


def step_of(**options: Any) -> Trainer:
    graph = linear()
    assert Differentiate(output="p", **options).run(graph)
    graph.module.verify()
    text = str(graph.module)
    assert str(parse_module(text)) == text
    return trainer_of(graph)


def batch(step: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    return {"x": rng.standard_normal((4, 3)).astype(np.float32), "labels": np.array([0, 1, 1, 0])}


def gradient(x: Any, w: Any, b: Any) -> tuple[Any, Any, float]:
    """(dw, db, loss) in fp64."""
    logits = (x @ w + b) * HALF
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    surplus = (p - np.eye(2)[[0, 1, 1, 0]]) / 4 * HALF
    return x.T @ surplus, surplus.sum(0), float(-np.log(p[range(4), [0, 1, 1, 0]]).mean())


def test_signature() -> None:
    run = step_of()
    main = run.graph.main
    assert run.graph.input_names == (
        "x",
        "labels",
        "learning_rate",
        "step",
        "w",
        "w/velocity",
        "b",
        "b/velocity",
    )
    assert run.graph.output_names == ("loss", "correct", "w", "b", "w/velocity", "b/velocity")
    assert names_of(main, PARAMETERS) == ("w", "b")
    assert names_of(main, STATE) == ("w/velocity", "b/velocity")
    assert set(run.graph.weights) >= {"w", "b", "w/velocity", "b/velocity", "half"}
    np.testing.assert_array_equal(run.carried["w/velocity"], np.zeros((3, 2)))


def test_sgd_by_the_text() -> None:
    run = step_of(momentum=0.75, weight_decay=0.125)
    w, b, v = W.astype(np.float64), B.astype(np.float64), np.zeros((3, 2))
    for number in range(3):
        given = batch(number)
        results = run.step(given, 0.25)
        dw, db, loss = gradient(given["x"], w, b)
        v = 0.75 * v + (dw + 0.125 * w)
        w = w - 0.25 * v
        # The bias's own velocity.
        b_velocity = run.carried["b/velocity"]
        np.testing.assert_allclose(run.carried["w/velocity"], v, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(run.carried["w"], w, rtol=1e-5)
        np.testing.assert_allclose(results["loss"], loss, rtol=1e-5)
        if number == 0:
            np.testing.assert_allclose(b_velocity, db + 0.125 * B, rtol=1e-5)
        b = run.carried["b"].astype(np.float64)


def test_sgd_without_momentum_and_decay_keeps_no_state() -> None:
    run = step_of(momentum=0.0)
    assert names_of(run.graph.main, STATE) == ()
    given = batch()
    run.step(given, 0.5)
    dw, db, _ = gradient(given["x"], W, B)
    np.testing.assert_allclose(run.carried["w"], W - 0.5 * dw, rtol=1e-5)
    np.testing.assert_allclose(run.carried["b"], B - 0.5 * db, rtol=1e-5)


def test_adam_by_the_text() -> None:
    run = step_of(optimizer=OptimizerName.ADAM, beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.5)
    w, m, v = W.astype(np.float64), np.zeros((3, 2)), np.zeros((3, 2))
    for number in range(1, 4):
        given = batch(number)
        dw = gradient(given["x"], w, run.carried["b"].astype(np.float64))[0] + 0.5 * w
        run.step(given, 0.125)
        m, v = 0.8 * m + 0.2 * dw, 0.9 * v + 0.1 * dw * dw
        w = w - 0.125 * (m / (1 - 0.8**number)) / (np.sqrt(v / (1 - 0.9**number)) + 1e-3)
        np.testing.assert_allclose(run.carried["w/mean"], m, rtol=1e-4)
        np.testing.assert_allclose(run.carried["w/square"], v, rtol=1e-4)
        np.testing.assert_allclose(run.carried["w"], w, rtol=1e-4)


def test_squared_errors_by_the_text() -> None:
    graph = linear()
    options = Differentiate(loss=Loss.MEAN_SQUARED_ERROR, output="scaled", momentum=0)
    options.run(graph)
    run = trainer_of(graph)
    targets = np.arange(8, dtype=np.float32).reshape(4, 2)
    x = batch()["x"]
    results = run.step({"x": x, "targets": targets}, 0.5)
    difference = ((x @ W + B) * HALF - targets).astype(np.float64)
    assert graph.output_names == ("loss", "w", "b")
    np.testing.assert_allclose(results["loss"], (difference**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(results["w"], W - 0.5 * x.T @ (difference / 4 * HALF), rtol=1e-5)


def test_a_learning_rate_is_an_input_and_labels_count() -> None:
    run = step_of()
    assert run.step(batch(), 0.0)["correct"] in range(5)
    np.testing.assert_array_equal(run.carried["w"], W)
    many = {"x": np.ones((4, 3), np.float32), "labels": np.array([0, 0, 1, 0])}
    logits = (many["x"] @ W + B) * HALF
    assert run.step(many, 0.0)["correct"] == (logits.argmax(1) == many["labels"]).sum()


def test_train_and_freeze_take_patterns() -> None:
    assert set(step_of(train="h?l*", freeze="b,[xb]").carried) == {
        *("w", "w/velocity", "half", "half/velocity"),
    }


def test_a_frozen_front_has_no_gradients(tmp_path: Path) -> None:
    whole = trainer(small_resnet(), tmp_path, Differentiate())
    head = trainer(small_resnet(), tmp_path, Differentiate(freeze="stem*,a.*,b.*"))
    assert str(whole.graph.module).count("weight_grad") > 6
    assert str(head.graph.module).count("weight_grad") == 1
    assert str(head.graph.module).count("local_grad") == 0
    assert {name for name in head.carried if "/" not in name and ".bn." not in name} == {
        "fc.bias",
        "fc.weight.transposed",
    }


def test_the_first_convolution_has_no_local_gradient(tmp_path: Path) -> None:
    run = trainer(small_mobilenet(), tmp_path, Differentiate())
    passes: dict[str, list[str]] = {}
    for op in run.graph.main.body.block.ops:
        role = role_of(op)
        if role is not None:
            passes.setdefault(role.layer.data, []).append(role.training_pass.data)
    assert passes.pop("stem.conv") == ["forward", "weight_grad"]
    assert all(sorted(found) == ["forward", "local_grad", "weight_grad"] for found in passes.values())


def test_layers_are_those_of_the_forward_pass(tmp_path: Path) -> None:
    run = trainer(small_resnet(), tmp_path, Differentiate())
    roles = [role for role in map(role_of, run.graph.main.body.block.ops) if role is not None]
    assert {role.layer.data for role in roles if role.first.data} == {"stem.conv"}
    assert {role.layer.data for role in roles if role.last.data} == {"fc"}
    shortcut = {role.layer.data for role in roles if "shortcut" in [kind.data for kind in role.kinds]}
    assert shortcut == {"b.shortcut.conv"}


def test_same_model_same_text(tmp_path: Path) -> None:
    first, second = (trainer(small_resnet(), tmp_path, Differentiate()) for _ in range(2))
    assert str(first.graph.module) == str(second.graph.module)


def test_training_learns_a_batch_by_heart(tmp_path: Path) -> None:
    run = trainer(small_mobilenet(), tmp_path, Differentiate())
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {
        "input": rng.standard_normal((6, 3, 12, 12)).astype(np.float32),
        "labels": np.arange(6) % 5,
    }
    losses = [float(run.step(given, 0.05)["loss"]) for _ in range(40)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "FX341"),
        ({"output": "logits"}, "FX341"),
        ({"output": "p", "freeze": "*"}, "FX345"),
    ],
)
def test_what_cannot_be_trained(options: dict[str, Any], code: str) -> None:
    with pytest.raises(CompileError, match=code):
        Differentiate(**options).run(linear())


def test_an_input_of_a_name_that_the_step_needs() -> None:
    text = TEXT.replace('inputs = ["x"]', 'inputs = ["labels"]')
    with pytest.raises(CompileError, match="FX343"):
        Differentiate(output="p").run(Graph(parse_module(text)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels", {}),
        ("loss", {}),
        ("correct", {"part": "gradients"}),
        ("w/velocity", {}),
        ("w/velocity", {"freeze": "w/velocity"}),
        ("w/gradient", {"freeze": "w/gradient", "part": "gradients"}),
    ],
)
def test_a_weight_of_a_name_that_the_step_needs(name: str, options: dict[str, Any]) -> None:
    graph = Graph(parse_module(TEXT.replace('"b"', f'"{name}"')))
    for key, array in (("w", W), (name, B), ("half", HALF)):
        graph.weights.add(key, array)
    with pytest.raises(CompileError, match=f"FX343.*'{name}'"):
        Differentiate(output="p", **options).run(graph)


def test_statistics_that_are_computed() -> None:
    text = """
    func.func @main(%x: tensor<4x2xf32>, %v: tensor<2xf32>) -> tensor<4x2xf32>
        attributes {inputs = ["x", "v"], outputs = ["y"]} {
      %g = nn.constant "g" : tensor<2xf32>
      %y = nn.batch_norm %x, %g, %g, %v, %v {eps = 0.1 : f32, source = #nn.source<"bn", "BN", 0>}
        : tensor<4x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32> -> tensor<4x2xf32>
      func.return %y : tensor<4x2xf32>
    }
    """
    with pytest.raises(CompileError, match=r"FX344.*'bn'"):
        Differentiate().run(Graph(parse_module(text)))


def test_options_are_text() -> None:
    text = "differentiate{loss=mean-squared-error optimizer=adam weight-decay=0.01}"
    (parsed,) = parse_pipeline(text)
    assert parsed == Differentiate(
        loss=Loss.MEAN_SQUARED_ERROR, optimizer=OptimizerName.ADAM, weight_decay=0.01
    )
    assert str(parsed) == text


DROPOUT = TEXT.replace(
    "%logits = nn.matmul %x",
    "%kept = train.dropout %x {ratio = 0.5 : f32, number = 0 : i64} : tensor<4x3xf32> -> tensor<4x3xf32>\n"
    "  %logits = nn.matmul %kept",
)


def test_dropout_draws_a_mask_a_step() -> None:
    graph = Graph(parse_module(DROPOUT))
    for key, array in (("w", W), ("b", B), ("half", HALF)):
        graph.weights.add(key, array)
    Differentiate(output="p", momentum=0, seed=7).run(graph)
    graph.module.verify()
    text = str(graph.module)
    assert str(parse_module(text)) == text
    run = trainer_of(graph)
    given = batch()
    w, b = W.astype(np.float64), B.astype(np.float64)
    for step in (1, 2, 3):
        bits = numerics.random_bits((4, 3), seed=7, stream=step * 4096 + 4095)
        kept = np.where(bits >= 1 << 15, given["x"] * 2.0, 0.0)
        dw, db, loss = gradient(kept, w, b)
        np.testing.assert_allclose(run.step(given, 0.25)["loss"], loss, rtol=1e-5)
        w, b = w - 0.25 * dw, b - 0.25 * db
        np.testing.assert_allclose(run.carried["w"], w, rtol=1e-5)


def test_dropout_changes_nothing_outside_of_training() -> None:
    graph = Graph(parse_module(DROPOUT))
    x = batch()["x"]
    for key, array in (("w", W), ("b", B), ("half", HALF)):
        graph.weights.add(key, array)
    for name, found in evaluate(graph, {"x": x}).items():
        np.testing.assert_array_equal(found, evaluate(linear(), {"x": x})[name])


def test_a_loss_that_the_model_computes() -> None:
    text = """
    func.func @main(%x: tensor<4x3xf32>, %t: tensor<4x2xf32>) -> tensor<1xf32>
        attributes {inputs = ["x", "t"], outputs = ["loss"]} {
      %w = nn.constant "w" : tensor<3x2xf32>
      %y = nn.matmul %x, %w : tensor<4x3xf32>, tensor<3x2xf32> -> tensor<4x2xf32>
      %d = nn.sub %y, %t : tensor<4x2xf32>, tensor<4x2xf32> -> tensor<4x2xf32>
      %s = nn.mul %d, %d : tensor<4x2xf32>, tensor<4x2xf32> -> tensor<4x2xf32>
      %m = nn.reduce_mean %s {axes = array<i64: 0, 1>, keepdims = false} : tensor<4x2xf32> -> tensor<f32>
      %loss = nn.reshape %m : tensor<f32> -> tensor<1xf32>
      func.return %loss : tensor<1xf32>
    }
    """
    graph = Graph(parse_module(text))
    graph.weights.add("w", W)
    Differentiate(loss=Loss.OUTPUT, momentum=0).run(graph)
    graph.module.verify()
    x, targets = batch()["x"], np.arange(8, dtype=np.float32).reshape(4, 2)
    results = trainer_of(graph).step({"x": x, "t": targets}, 0.5)
    difference = (x @ W - targets).astype(np.float64)
    np.testing.assert_allclose(results["loss"], (difference**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(results["w"], W - 0.5 * x.T @ (difference / 4), rtol=1e-5)
    with pytest.raises(CompileError, match="FX341"):
        Differentiate(loss=Loss.OUTPUT, output="p").run(linear())


def test_only_what_gradients_read_is_kept(tmp_path: Path) -> None:
    run = trainer(small_resnet(), tmp_path, Differentiate())
    kept = [str(value.name_hint) for value in kept_for_backward(run.graph)]
    block_b = [name for name in kept if name.startswith(("b_", "relu_3", "relu_4"))]

    def statistics(name: str) -> list[str]:
        return [f"{name}_bn_out_{word}" for word in ("mean", "var", "scale")]

    # Of a batch norm its input and vectors, of a relu its output, which is the next convolution's input.
    assert block_b == [
        *("b_1_conv_out", *statistics("b_1"), "relu_3_out", "b_2_conv_out", *statistics("b_2")),
        *("b_shortcut_conv_out", *statistics("b_shortcut"), "relu_4_out"),
    ]
    with pytest.raises(ValueError, match="no training step"):
        kept_for_backward(linear())
