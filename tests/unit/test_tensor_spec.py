"""Inputs are checked against what the model takes, all mistakes at once."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.diagnostics import CompileError
from flexc.tensor_spec import IntegerValues, TensorSpec, check_inputs

SPECS = (TensorSpec("x", "float32", (1, 3)), TensorSpec("mask", "bool", ()))


def test_fitting_inputs_pass() -> None:
    check_inputs(SPECS, {"mask": np.array(True), "x": np.zeros((1, 3), np.float32)})


def test_every_mistake_is_reported() -> None:
    inputs = {"x": np.zeros((2, 3)), "y": np.zeros(3)}
    with pytest.raises(CompileError) as failure:
        check_inputs(SPECS, inputs, "model.onnx")
    assert sorted(diagnostic.code for diagnostic in failure.value.diagnostics) == [
        "FX501",
        "FX502",
        "FX503",
        "FX504",
    ]
    text = str(failure.value)
    assert "input 'x' is float64, not float32" in text
    assert "input 'x' has the shape [2, 3], not [1, 3]" in text
    assert "model.onnx" in text
    assert "the model takes 'x' float32 [1, 3], 'mask' bool []" in text


LABELS = TensorSpec(
    "labels", "int64", (3,), (IntegerValues("the loss has the classes 0 to 9", 0, 9, (-100,)),)
)


def test_integers_that_are_right_pass() -> None:
    check_inputs([LABELS], {"labels": np.array([0, 9, -100])})
    check_inputs([TensorSpec("labels", "int64", (0,), LABELS.values)], {"labels": np.zeros(0, np.int64)})


@pytest.mark.parametrize("wrong", [-1, 10, -99])
def test_integers_that_are_no_class(wrong: int) -> None:
    given = np.array([3, 4, wrong])
    message = f"FX507.*'labels' goes from {given.min()} to {given.max()}; the loss has the classes 0 to 9"
    with pytest.raises(CompileError, match=message):
        check_inputs([LABELS], {"labels": given})
