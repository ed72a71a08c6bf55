"""Whole training steps against PyTorch: loss, gradients, updates, running statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from flexc import numerics
from flexc.passes.canonicalize import Canonicalize
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.passes.differentiate import Differentiate
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.optimizer import OptimizerName
from models.graph_builder import GraphBuilder
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet
from models.make_transformer import make_bert
from tests import torch_models
from tests.training_models import small_mobilenet, small_resnet, small_transformer
from tests.training_steps import Trainer, trainer

pytestmark = pytest.mark.torch
BATCH = 6


def begun(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model for a batch that it leaves open, with shifts of batch norms that are no longer 0.

    With a shift of 0, a scale that only reaches another batch norm has no gradient but rounding.
    """
    for value in (*model.graph.input, *model.graph.output):
        for extent in value.type.tensor_type.shape.dim:
            if extent.HasField("dim_param"):
                extent.dim_value = BATCH
    rng = np.random.default_rng(8)
    for one in model.graph.initializer:
        if one.name.endswith(".bn.bias"):
            shift = rng.uniform(-0.5, 0.5, one.dims).astype(np.float32)
            one.CopyFrom(onnx.numpy_helper.from_array(shift, one.name))
    return model


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet": small_mobilenet,
    "resnet": small_resnet,
    "transformer": small_transformer,
    # As they are shipped, smaller.
    "bert": lambda: make_bert(batch=BATCH, length=5, layers=2, width=16, vocabulary=7, classes=4),
    "shipped mobilenet": lambda: begun(make_small_mobilenet(size=16, channels=3, width=8)),
    "shipped resnet": lambda: begun(make_small_resnet(size=16, channels=3, widths=(4, 8, 12))),
}
STEPS = 3
TOLERANCE = 1e-4
SIMPLIFY = (Canonicalize(), EliminateCommonSubexpressions())


def inputs_of(model: onnx.ModelProto, step: int) -> dict[str, Any]:
    rng = np.random.default_rng(100 + step)
    (described,) = model.graph.input
    shape = [one.dim_value for one in described.type.tensor_type.shape.dim]
    if described.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        return {described.name: rng.integers(0, 7, shape)}
    return {described.name: rng.standard_normal(shape).astype(np.float32)}


def classes_of(model: onnx.ModelProto) -> tuple[int, int]:
    batch, classes = (one.dim_value for one in model.graph.output[0].type.tensor_type.shape.dim)
    return batch, classes


def initializer_of(key: str) -> tuple[str, bool]:
    """The model's name for a parameter, and whether import has transposed it."""
    return key.removesuffix(".transposed"), key.endswith(".transposed")


def trained(run: Trainer, weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of PyTorch that stand for the parameters of the step."""
    names = [initializer_of(key)[0] for key in run.carried if "/" not in key and ".bn.mean" not in key]
    found = {name: weights[name].requires_grad_() for name in names if not name.endswith(".bn.var")}
    assert len(found) > 8
    return found


def assert_close(found: Any, expected: Any, name: str) -> None:
    assert found.shape == expected.shape, name
    largest = float(np.abs(expected).max())
    if largest < 1e-12:
        # A gradient that is zero by nature, of the bias of attention's keys: rounding is all there is.
        assert float(np.abs(found).max()) < 1e-6, name
        return
    assert float(np.abs(found - expected).max()) < TOLERANCE * largest, name


def check_carried(run: Trainer, tensors: Mapping[str, Any], suffix: str, what: Callable[[Any], Any]) -> None:
    for key in [key for key in run.carried if initializer_of(key)[0] in tensors]:
        name, transposed = initializer_of(key)
        expected = what(tensors[name]).detach().numpy()
        assert_close(run.carried[key + suffix], expected.T if transposed else expected, key + suffix)


@pytest.mark.parametrize("name", MODELS)
def test_sgd(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = MODELS[name]()
    added = "positions" if "positions" in {one.name for one in model.graph.initializer} else ""
    options = Differentiate(momentum=0.8, weight_decay=0.01, train=added)
    run = trainer(model, tmp_path, options, SIMPLIFY)
    weights = torch_models.weights_of(model, torch)
    tensors = trained(run, weights)
    optimizer = torch.optim.SGD(tensors.values(), lr=0.05, momentum=0.8, weight_decay=0.01)
    batch, classes = classes_of(model)
    for step in range(STEPS):
        given = inputs_of(model, step)
        labels = np.random.default_rng(step).integers(0, classes, batch)
        results = run.step({**given, "labels": labels}, 0.05)
        for key, value in given.items():
            weights[key] = torch.tensor(value).double() if value.dtype == np.float32 else torch.tensor(value)
        logits = torch_models.run(model, torch, weights)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert_close(results["loss"], loss.detach().numpy(), "loss")
        assert results["correct"] == int((logits.argmax(1) == torch.tensor(labels)).sum())
        check_carried(run, tensors, "/velocity", lambda tensor: optimizer.state[tensor]["momentum_buffer"])
        check_carried(run, tensors, "", lambda tensor: tensor)


@pytest.mark.parametrize("name", MODELS)
def test_adam_on_squared_errors(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = MODELS[name]()
    if model.graph.node[-1].op_type == "Softmax":
        logits = model.graph.node.pop().input[0]
        model.graph.output[0].name = logits
    options = Differentiate(
        loss=Loss.MEAN_SQUARED_ERROR, optimizer=OptimizerName.ADAM, beta2=0.99, epsilon=1e-3
    )
    run = trainer(model, tmp_path, options, SIMPLIFY)
    weights = torch_models.weights_of(model, torch)
    tensors = trained(run, weights)
    optimizer = torch.optim.Adam(tensors.values(), lr=0.01, betas=(0.9, 0.99), eps=1e-3)
    for step in range(STEPS):
        given = inputs_of(model, step)
        targets = np.random.default_rng(step).standard_normal(classes_of(model)).astype(np.float32)
        results = run.step({**given, "targets": targets}, 0.01)
        for key, value in given.items():
            weights[key] = torch.tensor(value).double() if value.dtype == np.float32 else torch.tensor(value)
        output = torch_models.run(model, torch, weights)
        loss = torch.nn.functional.mse_loss(output, torch.tensor(targets).double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert_close(results["loss"], loss.detach().numpy(), "loss")
        check_carried(run, tensors, "/mean", lambda tensor: optimizer.state[tensor]["exp_avg"])
        check_carried(run, tensors, "/square", lambda tensor: optimizer.state[tensor]["exp_avg_sq"])
        check_carried(run, tensors, "", lambda tensor: tensor)


def test_running_statistics(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = small_resnet()
    run = trainer(model, tmp_path, Differentiate(statistics_momentum=0.75), SIMPLIFY)
    given = inputs_of(model, 0)
    run.step({**given, "labels": np.zeros(6, np.int64)}, 0.1)
    weights = torch_models.weights_of(model, torch)
    x = torch.tensor(given["input"]).double()
    stem = torch.nn.functional.conv2d(x, weights["stem.conv.weight"], None, 1, 1)
    mean, var = stem.mean((0, 2, 3)).numpy(), stem.var((0, 2, 3), correction=0).numpy()
    assert_close(run.carried["stem.bn.mean"], 0.25 * mean, "mean")
    assert_close(run.carried["stem.bn.var"], 0.75 + 0.25 * var, "var")


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_dropout_by_the_masks_of_the_text(ratio: float, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    b = GraphBuilder("dropout", 4)
    x = b.node("Dropout", [b.input("input", (6, 8)), b.scalar("ratio", ratio)])
    hidden = b.node("Relu", [b.linear(x, (8, 16), "fc1")])
    # Two masks of one value, one of which reaches the result by two ways.
    first, second = (b.node("Dropout", [hidden, b.scalar(f"ratio{i}", ratio)]) for i in range(2))
    mixed = b.node("Add", [b.node("Add", [first, second]), first])
    model = b.model({b.linear(mixed, (16, 3), "fc2"): (6, 3)})
    run = trainer(model, tmp_path, Differentiate(momentum=0.8, seed=11), SIMPLIFY)
    weights = torch_models.weights_of(model, torch)
    tensors = {
        name: weights[name].requires_grad_() for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    }
    optimizer = torch.optim.SGD(tensors.values(), lr=0.05, momentum=0.8)
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        given, labels = rng.standard_normal((6, 8)).astype(np.float32), rng.integers(0, 3, 6)
        masks = [
            torch.tensor(
                numerics.random_bits(shape, seed=11, stream=(step + 1) * 4096 + 4095 - number)
                >= int(ratio * 65536)
            ).double()
            / (1 - ratio)
            for number, shape in enumerate([(6, 8), (6, 16), (6, 16)])
        ]
        results = run.step({"input": given, "labels": labels}, 0.05)
        y = torch.tensor(given).double() * masks[0]
        y = torch.relu(torch.nn.functional.linear(y, tensors["fc1.weight"], tensors["fc1.bias"]))
        y = (y * masks[1] + y * masks[2]) + y * masks[1]
        logits = torch.nn.functional.linear(y, tensors["fc2.weight"], tensors["fc2.bias"])
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert_close(results["loss"], loss.detach().numpy(), "loss")
        check_carried(run, tensors, "", lambda tensor: tensor)


@pytest.mark.parametrize("kind", ["plain", "weighted", "log-softmax"])
def test_a_loss_of_the_models_own(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    b = GraphBuilder("own", 5)
    x = b.input("input", (6, 8, 4))
    given_labels = b.input("target", (6, 4), onnx.TensorProto.INT64)
    logits = b.node("MatMul", [b.normal("fc.weight", (3, 8), 8), x], "fc")
    class_weights = np.array([0.5, 2, 1], np.float32)
    if kind == "log-softmax":
        likelihoods = b.node("LogSoftmax", [logits], axis=1)
        loss_name = b.node("NegativeLogLikelihoodLoss", [likelihoods, given_labels], reduction="sum")
    elif kind == "weighted":
        operands = [logits, given_labels, b.weight("class_weights", class_weights)]
        loss_name = b.node("SoftmaxCrossEntropyLoss", operands, ignore_index=-100)
    else:
        loss_name = b.node("SoftmaxCrossEntropyLoss", [logits, given_labels])
    model = b.model({logits: (6, 3, 4), loss_name: ()})
    run = trainer(model, tmp_path, Differentiate(loss=Loss.OUTPUT, momentum=0.8), SIMPLIFY)
    assert run.graph.input_names[:4] == ("input", "target", "learning_rate", "step")
    weight = torch_models.weights_of(model, torch)["fc.weight"].requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.8)
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        given, labels = rng.standard_normal((6, 8, 4)).astype(np.float32), rng.integers(0, 3, (6, 4))
        if kind == "weighted":
            labels[0, 1:] = -100
        results = run.step({"input": given, "target": labels}, 0.05)
        loss = torch.nn.functional.cross_entropy(
            weight @ torch.tensor(given).double(),
            torch.tensor(labels),
            weight=torch.tensor(class_weights).double() if kind == "weighted" else None,
            reduction="sum" if kind == "log-softmax" else "mean",
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert_close(results["loss"], loss.detach().numpy(), "loss")
        check_carried(run, {"fc.weight": weight}, "", lambda tensor: tensor)
