"""Normalizations, softmax and dropout against ONNX Runtime, across the opsets that changed their meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.evaluate import evaluate
from tests.onnx_models import Array, assert_matches, build, make_node, op_names, random, save

X = random(2, 3, 4, 5)


def statistics(channels: int) -> dict[str, Array]:
    return {
        "gamma": random(channels, seed=1),
        "beta": random(channels, seed=2),
        "mean": random(channels, seed=3),
        "var": np.abs(random(channels, seed=4)) + np.float32(0.1),
    }


@pytest.mark.parametrize("opset", [9, 14, 15])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_batch_norm(opset: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    constants = statistics(3)
    node = make_node("BatchNormalization", ["x", *constants], ["y"], epsilon=1e-3, momentum=0.8)
    model = build([node], {"x": random(*shape)}, constants, opset=opset)
    assert_matches(model, {"x": random(*shape)}, tmp_path)


@pytest.mark.parametrize(
    ("opset", "attributes", "outputs", "message"),
    [
        (14, {"training_mode": 1}, ("y",), "FX205.*training mode"),
        (9, {}, ("y", "m", "v", "sm", "sv"), "FX205.*training mode"),
        (8, {"spatial": 0}, ("y",), "FX205.*spatial"),
        (9, {"spatial": 1}, ("y",), None),
        (14, {"spatial": 1}, ("y",), "FX202.*no attribute 'spatial' in opset 14"),
    ],
)
def test_batch_norm_forms(
    opset: int, attributes: dict[str, int], outputs: tuple[str, ...], message: str | None, tmp_path: Path
) -> None:
    constants = statistics(3)
    node = make_node("BatchNormalization", ["x", *constants], outputs, **attributes)
    path = save(build([node], {"x": X}, constants, opset=opset), tmp_path)
    if message is None:
        load_model(path)
        return
    with pytest.raises(CompileError, match=message):
        load_model(path)


def test_batch_norm_of_other_channels(tmp_path: Path) -> None:
    constants = statistics(4)
    node = make_node("BatchNormalization", ["x", *constants], ["y"])
    with pytest.raises(CompileError, match=r"input has 3 channels, but a parameter has shape \[4\]"):
        load_model(save(build([node], {"x": X}, constants), tmp_path))


@pytest.mark.parametrize("axis", [-1, 2, 1])
@pytest.mark.parametrize("beta", [False, True])
def test_layer_norm(axis: int, beta: bool, tmp_path: Path) -> None:
    constants = {"gamma": random(*X.shape[axis:], seed=1)}
    if beta:
        constants["beta"] = random(*X.shape[axis:], seed=2)
    node = make_node("LayerNormalization", ["x", *constants], ["y"], axis=axis, epsilon=1e-4)
    graph = assert_matches(build([node], {"x": X}, constants, opset=17), {"x": X}, tmp_path, tolerance=4e-6)
    assert op_names(graph) == ["nn.layer_norm"]


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("opset", "axis"), [(9, None), (9, 2), (9, 3), (9, 0), (11, -2), (13, None), (13, 1), (13, -2), (21, 0)]
)
def test_softmax(operator: str, opset: int, axis: int | None, tmp_path: Path) -> None:
    """Before opset 13 all dimensions from the axis on are normalized together, later the axis alone."""
    attributes = {} if axis is None else {"axis": axis}
    node = make_node(operator, ["x"], ["y"], **attributes)
    assert_matches(build([node], {"x": X}, opset=opset), {"x": X}, tmp_path, tolerance=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_norm(size: int, tmp_path: Path) -> None:
    x = random(2, 7, 3, 3) * np.float32(3)
    node = make_node("LRN", ["x"], ["y"], size=size, alpha=0.3, beta=0.6, bias=1.5)
    assert_matches(build([node], {"x": x}, opset=13), {"x": x}, tmp_path, tolerance=1e-6)


def test_local_response_norm_of_an_even_size(tmp_path: Path) -> None:
    """The window reaches one channel further behind than before (ONNX Runtime takes odd sizes only)."""
    x = random(1, 4, 2, 2)
    node = make_node("LRN", ["x"], ["y"], size=2, alpha=2.0, beta=1.0, bias=1.0)
    found = evaluate(load_model(save(build([node], {"x": x}), tmp_path)), {"x": x})["y"]
    squares = np.concatenate([x, np.zeros((1, 1, 2, 2), np.float32)], axis=1) ** 2
    np.testing.assert_allclose(found, x / (1 + squares[:, :-1] + squares[:, 1:]), rtol=1e-6)


@pytest.mark.parametrize(
    ("opset", "attributes", "outputs"),
    [(14, {"training_mode": 1}, ("y", "m", "v")), (9, {}, ("y", "m", "v", "sm", "sv"))],
)
def test_a_training_step_takes_batch_norms_in_training_mode(
    opset: int, attributes: dict[str, int], outputs: tuple[str, ...], tmp_path: Path
) -> None:
    vectors = statistics(3)
    node = make_node("BatchNormalization", ["x", *vectors], outputs, **attributes)
    path = save(build([node], {"x": X}, vectors, opset=opset), tmp_path)
    assert op_names(load_model(path, training=True)) == ["nn.batch_norm"]
