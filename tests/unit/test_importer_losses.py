"""Losses of the model's own against ONNX Runtime: reductions, class weights, ignored labels, images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.onnx_models import Array, assert_matches, build, make_node, random, save

CLASSES = 5
WEIGHTS = np.array([0.5, 2, 1, 0.25, 3], np.float32)


def labels_of(shape: tuple[int, ...], element: type[np.generic] = np.int64) -> Array:
    """Labels of rows, every class among them."""
    return np.asarray(
        np.random.default_rng(3).permutation(np.arange(np.prod(shape))).reshape(shape) % CLASSES, element
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("ignore", [None, 2, -1])
@pytest.mark.parametrize("rest", [(), (3, 2)])
@pytest.mark.parametrize("operator", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
def test_loss(
    operator: str, rest: tuple[int, ...], ignore: int | None, weights: bool, reduction: str, tmp_path: Path
) -> None:
    x = 3 * random(6, CLASSES, *rest)
    labels = labels_of((6, *rest))
    if ignore == -1:
        labels[labels == 4] = -1
    attributes: dict[str, Any] = {"reduction": reduction} | (
        {} if ignore is None else {"ignore_index": ignore}
    )
    constants = {"w": WEIGHTS} if weights else {}
    node = make_node(operator, ["x", "t", *constants], ["y"], **attributes)
    assert_matches(build([node], {"x": x, "t": labels}, constants), {"x": x, "t": labels}, tmp_path)


def test_log_likelihoods_are_a_result(tmp_path: Path) -> None:
    inputs = {"x": random(6, CLASSES, 2), "t": labels_of((6, 2), np.int32)}
    node = make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y", "p"])
    assert_matches(build([node], inputs, opset=13, outputs=("y", "p")), inputs, tmp_path)


@pytest.mark.parametrize(
    ("x", "labels", "weights", "message"),
    [
        (random(6), labels_of((6,)), WEIGHTS, r"scores \[6\]"),
        (random(6, CLASSES), labels_of((6, 1)), WEIGHTS, r"labels \[6, 1\] i64"),
        (random(6, CLASSES), labels_of((6,)).astype(np.float32), WEIGHTS, r"labels \[6\] for"),
        (random(6, CLASSES), labels_of((6,)), WEIGHTS[:4], r"class weights \[4\] for 5 classes"),
    ],
)
def test_operands_that_do_not_fit(
    x: Array, labels: Array, weights: Array, message: str, tmp_path: Path
) -> None:
    node = make_node("SoftmaxCrossEntropyLoss", ["x", "t", "w"], ["y"], name="loss")
    path = save(build([node], {"x": x, "t": labels}, {"w": weights}), tmp_path)
    with pytest.raises(CompileError, match=rf"FX203.*'loss' \(SoftmaxCrossEntropyLoss, node 0\): {message}"):
        load_model(path)


def test_an_unknown_reduction(tmp_path: Path) -> None:
    inputs = {"x": random(6, CLASSES), "t": labels_of((6,))}
    node = make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y"], reduction="max")
    with pytest.raises(CompileError, match=r"FX205.*'reduction' is 'max'"):
        load_model(save(build([node], inputs), tmp_path))
