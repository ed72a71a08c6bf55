"""Which array of a data set goes where, and what labels may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from flexc.datasets.arrays import DataSet, Examples
from flexc.diagnostics import CompileError
from flexc.options import TrainingOptions
from flexc.passes.differentiation.loss import Loss
from flexc.training.binding import bind
from flexc.training.model import TrainedModel, load_trained_model
from models.graph_builder import GraphBuilder

COUNT = 6
FLOATS = np.ones((COUNT, 3), np.float32)
TOKENS = np.arange(COUNT * 3).reshape(COUNT, 3) % 5
LABELS = np.arange(COUNT) % 2
INPUTS = {"x": TensorProto.FLOAT, "ids": TensorProto.INT64, "t": TensorProto.INT32}


def model_of(folder: Path, names: Sequence[str]) -> Path:
    """A model that takes [n, 3] under each of ``names`` and t of [n]."""
    b = GraphBuilder("inputs", 0)
    for name in names:
        b.input(name, ("n",) if name == "t" else ("n", 3), INPUTS[name])
    path = folder / "inputs.onnx"
    onnx.save(b.model({names[0]: ("n", 3)}), path)
    return path


def data_of(arrays: Mapping[str, Any], labels: Any = LABELS, label: str = "labels") -> DataSet:
    return DataSet("data", Examples(arrays, labels), Examples(arrays, labels), label)


@pytest.mark.parametrize(
    ("names", "arrays", "label", "expected"),
    [
        (("x",), {"images": FLOATS}, "labels", {"x": "images"}),
        (("x", "ids"), {"x": FLOATS, "ids": TOKENS}, "labels", {"x": "x", "ids": "ids"}),
        (("x", "ids"), {"ids": TOKENS, "images": FLOATS}, "labels", {"ids": "ids", "x": "images"}),
        (("x", "t"), {"images": FLOATS}, "labels", {"x": "images"}),
        (("x", "ids", "t"), {"x": FLOATS, "ids": TOKENS}, "t", {"x": "x", "ids": "ids"}),
    ],
)
def test_inputs_find_their_arrays(
    names: Sequence[str], arrays: Mapping[str, Any], label: str, expected: dict[str, str], tmp_path: Path
) -> None:
    loss = Loss.OUTPUT if "t" in names else Loss.CROSS_ENTROPY
    found = bind(model_of(tmp_path, names), data_of(arrays, label=label), loss, 2)
    assert found.arrays == expected
    fed = found.inputs_of(data_of(arrays).train)
    assert list(fed) == [*expected, *(["t"] if "t" in names else [])]
    if "t" in names:
        assert fed["t"].dtype == np.int32
        np.testing.assert_array_equal(fed["t"], LABELS)


@pytest.mark.parametrize(
    ("names", "arrays", "message"),
    [
        (("x", "ids"), {"x": FLOATS}, "no array is for the model's input 'ids'"),
        (("x", "ids"), {"a": FLOATS, "b": TOKENS}, "no array is for the model's input 'x', 'ids'"),
        (("x",), {"x": FLOATS, "extra": FLOATS}, "no input for the array 'extra'"),
        (("x",), {"x": TOKENS}, "'x' is f32, its array int64"),
        (("ids",), {"ids": FLOATS}, "'ids' is i64, its array float32"),
        (("x",), {"x": FLOATS[:, :2]}, r"takes 'x' \[n, 3\], and 'data' gives it \[2, 2\]"),
        (("x",), {"x": FLOATS[:, :, np.newaxis]}, r"takes 'x' \[n, 3\], and 'data' gives it \[2, 3, 1\]"),
    ],
)
def test_what_does_not_fit(
    names: Sequence[str], arrays: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CompileError, match=rf"FX563.*{message}"):
        bind(model_of(tmp_path, names), data_of(arrays), Loss.CROSS_ENTROPY, 2)


def sequence_model(folder: Path, rows: tuple[int, ...] = (3,)) -> Path:
    """Tokens [n, 3] of 5 to scores [n, *rows, 4] by way of a table."""
    b = GraphBuilder("sequence", 0)
    x = b.node("Gather", [b.normal("table", (5, 4), 1), b.input("ids", ("n", 3), TensorProto.INT64)])
    if not rows:
        x = b.node("ReduceMean", [x], axes=[1], keepdims=0)
    path = folder / "sequence.onnx"
    onnx.save(b.model({x: ("n", *rows, 4)}), path)
    return path


def load(path: Path, data: DataSet, loss: str = "cross-entropy", batch: int = 2) -> TrainedModel:
    return load_trained_model(path, data, batch=batch, options=TrainingOptions(loss=loss))


def test_labels_of_positions(tmp_path: Path) -> None:
    found = load(sequence_model(tmp_path), data_of({"ids": TOKENS}, TOKENS % 4))
    assert (found.labels.classes, found.labels.rows) == (4, 3)


def test_targets(tmp_path: Path) -> None:
    targets = np.zeros((COUNT, 4), np.float32)
    path = sequence_model(tmp_path, ())
    found = load(path, data_of({"ids": TOKENS}, targets), "mean-squared-error")
    assert found.labels.classes is None
    one_hot = load(path, data_of({"ids": TOKENS}, LABELS), "mean-squared-error").labels
    np.testing.assert_array_equal(
        one_hot.inputs_of(Examples({}, np.array([1, 0])))["targets"], [[0, 1, 0, 0], [1, 0, 0, 0]]
    )


@pytest.mark.parametrize(
    ("labels", "loss", "message"),
    [
        (None, "cross-entropy", "'data' has no labels"),
        (LABELS + 3, "cross-entropy", "go from 3 to 4, the classes of the output .* from 0 to 3"),
        (LABELS - 1, "cross-entropy", "go from -1 to 0"),
        (LABELS.astype(np.float32), "cross-entropy", "are fp32"),
        (LABELS[:, np.newaxis], "cross-entropy", r"are \[N, 1\], those of the output .* \[N\]"),
        (np.zeros((COUNT, 3), np.float32), "mean-squared-error", r"are \[N, 3\], those .* \[N, 4\]"),
    ],
)
def test_labels_that_do_not_fit(labels: Any, loss: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=rf"FX563.*{message}"):
        load(sequence_model(tmp_path, ()), data_of({"ids": TOKENS}, labels), loss)


@pytest.mark.parametrize("shift", [1, -6])
def test_tokens_beyond_the_table(shift: int, tmp_path: Path) -> None:
    data = data_of({"ids": TOKENS + shift}, LABELS)
    with pytest.raises(CompileError, match=r"FX563.*'ids' of 'data' goes from .* has 5 entries"):
        load(sequence_model(tmp_path, ()), data)


def test_a_batch_of_another_model(tmp_path: Path) -> None:
    b = GraphBuilder("fixed", 0)
    y = b.linear(b.input("x", (4, 3)), (3, 2), "fc")
    onnx.save(b.model({y: (4, 2)}), tmp_path / "fixed.onnx")
    data = data_of({"x": FLOATS})
    assert load(tmp_path / "fixed.onnx", data, batch=4).batch == 4
    with pytest.raises(CompileError, match=r"FX563.*takes 'x' \[4, 3\], and 'data' gives it \[2, 3\]"):
        load(tmp_path / "fixed.onnx", data)
