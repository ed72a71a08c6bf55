"""Integers of a data set that are no class of the model's own loss, or no entry of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from flexc.datasets.arrays import DataSet, Examples
from flexc.diagnostics import CompileError
from flexc.options import TrainingOptions
from flexc.training.model import TrainedModel, load_trained_model
from models.graph_builder import GraphBuilder

COUNT, CLASSES = 6, 3
IMAGES = np.random.default_rng(0).standard_normal((COUNT, 4)).astype(np.float32)
LABELS = np.arange(COUNT) % CLASSES


def own_loss(
    folder: Path, operator: str = "SoftmaxCrossEntropyLoss", element: int = TensorProto.INT64, **loss: Any
) -> Path:
    """Images [n, 4] and classes [n], a linear layer, and the loss."""
    b = GraphBuilder("own", 0)
    scores = b.linear(b.input("images", ("n", 4)), (4, CLASSES), "fc")
    if operator == "NegativeLogLikelihoodLoss":
        scores = b.node("LogSoftmax", [scores], axis=1)
    found = b.node(operator, [scores, b.input("target", ("n",), element)], "loss", **loss)
    path = folder / "own.onnx"
    onnx.save(b.model({found: ()}), path)
    return path


def load(path: Path, labels: Any, test_labels: Any = None, loss: str = "output") -> TrainedModel:
    test = Examples({"images": IMAGES}, labels if test_labels is None else test_labels)
    data = DataSet("data", Examples({"images": IMAGES}, labels), test)
    return load_trained_model(path, data, batch=2, options=TrainingOptions(loss=loss))


def with_one(label: int) -> Any:
    """Labels of which the last is ``label``."""
    return np.array([*LABELS[:-1], label])


@pytest.mark.parametrize("operator", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
@pytest.mark.parametrize("element", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("label", [-1, -100, CLASSES])
def test_labels_that_are_no_class(operator: str, element: int, label: int, tmp_path: Path) -> None:
    path = own_loss(tmp_path, operator, element)
    load(path, LABELS)
    least, largest = min(0, label), max(2, label)
    message = f"FX563.*'loss' \\({operator}, node .\\): 'labels' of 'data' goes from {least} to {largest}; "
    with pytest.raises(CompileError, match=f"{message}the model's loss has the classes 0 to 2\\n"):
        load(path, with_one(label))
    with pytest.raises(CompileError, match=message):
        load(path, LABELS, with_one(label))


def test_labels_beyond_the_elements_of_the_input(tmp_path: Path) -> None:
    """Their low bits are class 2."""
    beyond = with_one(2**32 + 2)
    with pytest.raises(CompileError, match=r"FX563.*'labels' .* to 4294967298; the model takes it as i32"):
        load(own_loss(tmp_path, element=TensorProto.INT32), beyond)
    with pytest.raises(CompileError, match=r"FX563.*'loss' .* to 4294967298; .* the classes 0 to 2"):
        load(own_loss(tmp_path), beyond)


def test_a_label_to_ignore(tmp_path: Path) -> None:
    path = own_loss(tmp_path, ignore_index=-100)
    load(path, with_one(-100))
    with pytest.raises(CompileError, match=r"goes from -1 to 2; .* classes 0 to 2, and ignores -100\n"):
        load(path, with_one(-1))
    with pytest.raises(CompileError, match=r"goes from -100 to 3; "):
        load(path, np.array([0, 3, -100, 0, 1, 2]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype(np.float32), r"input 'target'(.|\n)*'target' i64 \[n\]; .* 'labels' float32 \[N\]"),
        (LABELS[:, np.newaxis], r"takes 'target' \[n\], and 'data' gives it \[2, 1\]"),
        (None, "no array is for the model's input 'target'"),
    ],
)
def test_labels_of_another_kind(labels: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=rf"FX563.*{message}"):
        load(own_loss(tmp_path), labels)


def test_labels_that_are_looked_up_or_moved_first(tmp_path: Path) -> None:
    b = GraphBuilder("moved", 0)
    scores = b.linear(b.input("images", ("n", 4)), (4, CLASSES), "fc")
    labels = b.node("Squeeze", [b.input("target", ("n", 1), TensorProto.INT64), b.constant("axis", [1])])
    weights = b.node("Gather", [b.normal("weights", (CLASSES - 1,), 1), labels], "lookup")
    rows = b.node("SoftmaxCrossEntropyLoss", [scores, labels], "loss", reduction="none")
    found = b.node("ReduceMean", [b.node("Mul", [rows, weights])], keepdims=0)
    path = tmp_path / "moved.onnx"
    onnx.save(b.model({found: ()}), path)
    load(path, LABELS[:, np.newaxis] % 2)
    with pytest.raises(CompileError, match=r"FX563.*'lookup' .* has 2 entries"):
        load(path, LABELS[:, np.newaxis])
    with pytest.raises(CompileError, match=r"FX563.*'loss' .* has the classes 0 to 2"):
        load(path, LABELS[:, np.newaxis] % 2 - 1)


@pytest.mark.parametrize("loss", ["cross-entropy", "mean-squared-error"])
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_classes_of_the_losses_that_flexc_has(loss: str, label: int, tmp_path: Path) -> None:
    b = GraphBuilder("plain", 0)
    path = tmp_path / "plain.onnx"
    onnx.save(b.model({b.linear(b.input("images", ("n", 4)), (4, CLASSES), "fc"): ("n", CLASSES)}), path)
    with pytest.raises(CompileError, match=r"FX563.*the labels of 'data' go from .* from 0 to 2"):
        load(path, with_one(label), loss=loss)
    with pytest.raises(CompileError, match=r"FX563.*the labels of 'data' go from .* from 0 to 2"):
        load(path, LABELS, with_one(label), loss=loss)
