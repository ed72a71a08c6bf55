"""Conv, Gemm and MatMul against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.onnx_models import Array, assert_matches, build, make_node, op_names, random, save


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "attributes"),
    [
        ((2, 3, 9, 8), (4, 3, 3, 3), {}),
        ((2, 3, 9, 8), (4, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2], "kernel_shape": [3, 3]}),
        ((1, 3, 9, 8), (4, 3, 3, 2), {"pads": [0, 1, 2, 0], "strides": [1, 2]}),
        ((1, 4, 9, 8), (6, 2, 3, 3), {"group": 2}),
        ((1, 4, 9, 8), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
        ((1, 4, 9, 8), (8, 1, 3, 3), {"group": 4}),
        ((1, 3, 9, 8), (4, 3, 3, 3), {"dilations": [2, 3]}),
        ((1, 3, 11), (4, 3, 3), {"pads": [1, 0], "strides": [2]}),
        ((1, 3, 10, 7), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 3, 10, 7), (4, 3, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
        ((1, 3, 10, 7), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [3, 1]}),
        ((1, 3, 10, 7), (4, 3, 3, 2), {"auto_pad": "VALID"}),
        ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"pads": [0, 1, 0, 1, 0, 1]}),
    ],
)
@pytest.mark.parametrize("opset", [9, 22])
@pytest.mark.parametrize("bias", [False, True])
def test_conv(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    attributes: dict[str, Any],
    opset: int,
    bias: bool,
    tmp_path: Path,
) -> None:
    x, constants = random(*x_shape), {"w": random(*w_shape, seed=1)}
    if bias:
        constants["b"] = random(w_shape[0], seed=2)
    node = make_node("Conv", ["x", *constants], ["y"], **attributes)
    assert_matches(build([node], {"x": x}, constants, opset=opset), {"x": x}, tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("constant_b", [False, True])
@pytest.mark.parametrize(
    ("c_shape", "alpha", "beta"),
    [
        (None, 1.0, 1.0),
        (None, 0.5, 1.0),
        ((5,), 1.0, 1.0),
        ((5,), 0.5, 2.0),
        ((1, 5), 1.0, 2.0),
        ((1,), 1.0, 1.0),
        ((), 1.0, 0.5),
        ((3, 5), 0.5, 2.0),
        ((3, 1), 1.0, 1.0),
    ],
)
def test_gemm(
    trans_a: int,
    trans_b: int,
    constant_b: bool,
    c_shape: tuple[int, ...] | None,
    alpha: float,
    beta: float,
    tmp_path: Path,
) -> None:
    a = random(4, 3) if trans_a else random(3, 4)
    b = random(5, 4, seed=1) if trans_b else random(4, 5, seed=1)
    inputs, constants = {"a": a}, dict[str, Array]()
    (constants if constant_b else inputs)["b"] = b
    if c_shape is not None:
        constants["c"] = np.asarray(random(*c_shape, seed=2), np.float32)
    names = ["a", "b"] + (["c"] if c_shape is not None else [])
    node = make_node("Gemm", names, ["y"], transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)
    graph = assert_matches(build([node], inputs, constants, opset=11), inputs, tmp_path, tolerance=1e-6)
    if constant_b and not trans_a and c_shape in (None, (5,), (1, 5), (1,), ()):
        assert op_names(graph) == ["nn.matmul"]


def test_gemm_weight_is_transposed_without_a_copy(tmp_path: Path) -> None:
    weight = random(5, 4)
    model = build(
        [make_node("Gemm", ["a", "fc.weight"], ["y"], transB=1)],
        {"a": random(2, 4)},
        {"fc.weight": weight},
    )
    graph = load_model(save(model, tmp_path))
    stored = graph.weights.get("fc.weight.transposed")
    np.testing.assert_array_equal(stored, weight.T)
    assert not stored.flags.owndata


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
    ],
)
@pytest.mark.parametrize("opset", [9, 13])
def test_matmul(a_shape: tuple[int, ...], b_shape: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    inputs = {"a": random(*a_shape), "b": random(*b_shape, seed=1)}
    model = build([make_node("MatMul", ["a", "b"], ["y"])], inputs, opset=opset)
    assert_matches(model, inputs, tmp_path)


@pytest.mark.parametrize(
    ("w_shape", "attributes", "message"),
    [
        ((4, 2, 3, 3), {}, "3 input channels, but the weight has 2 x group 1"),
        ((4, 3, 3), {}, "an input of rank 4 and a weight of rank 3"),
        ((4, 3, 3, 3), {"kernel_shape": [3, 1]}, "'kernel_shape' is"),
        ((4, 3, 3, 3), {"pads": [1, 1]}, "'pads' has 2 values, but 4 are needed"),
        ((4, 3, 3, 3), {"pads": [1, 1, 1, 1], "auto_pad": "SAME_UPPER"}, "exclude each other"),
        ((4, 3, 3, 3), {"strides": [0, 1]}, "lie between 1 and"),
        ((4, 3, 9, 3), {}, "the window covers 9"),
        ((4, 3, 3, 3), {"window": 3}, "has no attribute 'window'"),
        ((4, 3, 3, 3), {"group": 1.0}, "'group' is not an integer"),
    ],
)
def test_conv_that_does_not_fit(
    w_shape: tuple[int, ...], attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    node = make_node("Conv", ["x", "w"], ["y"], **attributes)
    model = build([node], {"x": random(1, 3, 8, 8)}, {"w": random(*w_shape)})
    with pytest.raises(CompileError, match=message):
        load_model(save(model, tmp_path))
