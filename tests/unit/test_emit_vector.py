"""Streams of elementwise ops, rows, reductions, pools and moved tensors give the bytes of their graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from flexc.options import BatchNorm, CompileOptions
from tests.onnx_models import build, make_node, random
from tests.stream_agreement import Agreement, check_agreement

Array: TypeAlias = npt.NDArray[Any]


def run(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    constants: Mapping[str, Array] | None = None,
    outputs: Sequence[str] = ("y",),
    **options: Any,
) -> Agreement:
    model = build(nodes, inputs, constants, outputs=outputs)
    return check_agreement(model, inputs, folder, CompileOptions(**options))


def integers(*shape: int, low: int, high: int) -> Array:
    return np.random.default_rng(7).integers(low, high, shape)


UNARY: dict[str, dict[str, Any]] = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "Erf": {},
    "Exp": {},
    "Neg": {},
    "Abs": {},
    "Reciprocal": {},
    "Floor": {},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.1},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "Softmax": {"axis": -1},
    "LogSoftmax": {"axis": 1},
}


@pytest.mark.parametrize("operator", UNARY)
@pytest.mark.parametrize("shape", [(7,), (3, 5, 6, 7), (2, 3, 4, 5, 6)])
def test_unary(operator: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    attributes = UNARY[operator]
    if operator == "LogSoftmax" and len(shape) == 1:
        attributes = {"axis": 0}
    run(tmp_path, [make_node(operator, ["x"], ["y"], **attributes)], {"x": random(*shape)})


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_unary_of_positive_numbers(operator: str, tmp_path: Path) -> None:
    run(tmp_path, [make_node(operator, ["x"], ["y"])], {"x": np.abs(random(9, 9)) + np.float32(0.1)})


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 5, 6), (4, 5, 6)),
        ((4, 1, 6), (5, 1)),
        ((2, 3, 4, 4), (3, 1, 1)),
        ((5,), (1,)),
        ((), (3,)),
        ((), ()),
    ],
)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_binary(operator: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], tmp_path: Path) -> None:
    inputs = {"a": random(*shapes[0], seed=1), "b": random(*shapes[1], seed=2)}
    run(tmp_path, [make_node(operator, ["a", "b"], ["y"])], inputs)


@pytest.mark.parametrize(
    "constant", [random(3, 1, 1), random(1), random(2, 3, 4, 4), np.float32(3).reshape(())]
)
def test_binary_with_a_constant(constant: Array, tmp_path: Path) -> None:
    run(tmp_path, [make_node("Mul", ["x", "c"], ["y"])], {"x": random(2, 3, 4, 4)}, {"c": constant})


def test_power(tmp_path: Path) -> None:
    inputs = {"a": np.abs(random(4, 5)), "b": random(5)}
    run(tmp_path, [make_node("Pow", ["a", "b"], ["y"])], inputs)


def test_masks(tmp_path: Path) -> None:
    inputs = {"tokens": integers(2, 9, low=0, high=3), "x": random(2, 4, 9)}
    constants = {"pad": np.asarray(0), "low": np.asarray(-1e9, np.float32), "axis": np.asarray([1])}
    nodes = [
        make_node("Equal", ["tokens", "pad"], ["flat"]),
        make_node("Unsqueeze", ["flat", "axis"], ["mask"]),
        make_node("Where", ["mask", "low", "x"], ["masked"]),
        make_node("Softmax", ["masked"], ["y"], axis=-1),
    ]
    run(tmp_path, nodes, inputs, constants, outputs=("y", "mask"))


@pytest.mark.parametrize("operator", ["Less", "Greater", "Equal"])
def test_comparisons(operator: str, tmp_path: Path) -> None:
    inputs = {"a": np.round(random(4, 6)), "b": np.round(random(6, seed=1))}
    run(tmp_path, [make_node(operator, ["a", "b"], ["y"])], inputs)


@pytest.mark.parametrize("to", [onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.BOOL])
def test_casts(to: int, tmp_path: Path) -> None:
    run(tmp_path, [make_node("Cast", ["x"], ["y"], to=to)], {"x": integers(5, 4, low=-2, high=3)})


@pytest.mark.parametrize(
    ("axes", "keepdims"),
    [([1], 1), ([2, 3], 1), ([2, 3], 0), ([0, 2], 0), ([1, 3], 1), ([0, 1, 2, 3], 0), ([3], 0)],
)
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax"])
def test_reductions(operator: str, axes: list[int], keepdims: int, tmp_path: Path) -> None:
    node = make_node(operator, ["x"], ["y"], axes=axes, keepdims=keepdims)
    run(tmp_path, [node], {"x": random(3, 5, 6, 7)})


def test_reduce_sum(tmp_path: Path) -> None:
    node = make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    run(tmp_path, [node], {"x": random(3, 50, 6)}, {"axes": np.asarray([1])})


WINDOWS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 5, 8, 9), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "padded": ((1, 6, 11, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "asymmetric": ((1, 3, 7, 7), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [0, 1, 1, 0]}),
    "ceil": ((1, 4, 10, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "one_dimensional": ((2, 5, 17), {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    "three_dimensional": ((1, 3, 5, 6, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2]}),
    "stride_beyond_kernel": ((1, 3, 9, 9), {"kernel_shape": [1, 2], "strides": [3, 4]}),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pools(operator: str, name: str, tmp_path: Path) -> None:
    shape, attributes = WINDOWS[name]
    run(tmp_path, [make_node(operator, ["x"], ["y"], **attributes)], {"x": random(*shape)})


def test_average_pool_that_counts_padding(tmp_path: Path) -> None:
    _, attributes = WINDOWS["padded"]
    node = make_node("AveragePool", ["x"], ["y"], count_include_pad=1, ceil_mode=1, **attributes)
    run(tmp_path, [node], {"x": random(1, 6, 12, 9)})


def test_max_pool_with_dilation(tmp_path: Path) -> None:
    node = make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], dilations=[2, 3], pads=[1, 1, 1, 1])
    run(tmp_path, [node], {"x": random(1, 3, 11, 12)})


def test_pool_of_ten_bit_results(tmp_path: Path) -> None:
    constants = {
        "w": random(22, 3, 3, 3),
        **{name: np.abs(random(22, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    nodes = [
        make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        make_node("Relu", ["n"], ["r"]),
        make_node("MaxPool", ["r"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    found = run(tmp_path, nodes, {"x": random(1, 3, 33, 33)}, constants)
    stored = next(symbol for symbol in found.stream.symbols if symbol.name == "r")
    assert stored.planes[0].format.name == "FP10"


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_norm(axis: int, with_bias: bool, tmp_path: Path) -> None:
    shape = (3, 4, 20)
    constants = {"g": random(*shape[axis:]), "b": random(*shape[axis:], seed=1)}
    names = ["x", "g", "b"] if with_bias else ["x", "g"]
    node = make_node("LayerNormalization", names, ["y"], axis=axis)
    run(tmp_path, [node], {"x": random(*shape)}, constants)


@pytest.mark.parametrize("batchnorm", list(BatchNorm))
@pytest.mark.parametrize("shape", [(2, 10, 5, 6), (3, 9), (2, 7, 8)])
def test_norm_of_an_input(shape: tuple[int, ...], batchnorm: BatchNorm, tmp_path: Path) -> None:
    constants = {name: np.abs(random(shape[1], seed=i)) for i, name in enumerate(("g", "b", "m", "v"))}
    nodes = [
        make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"]),
        make_node("HardSwish", ["n"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(*shape)}, constants, batchnorm=batchnorm)


def test_large_tensors_are_cut(tmp_path: Path) -> None:
    nodes = [make_node("Add", ["x", "x"], ["a"]), make_node("Mul", ["a", "x"], ["y"])]
    found = run(tmp_path, nodes, {"x": random(3, 70, 61, 53)}, target="flexblock-edge")
    assert len(found.stream.records) < 30


def test_a_value_of_the_group_that_others_read(tmp_path: Path) -> None:
    nodes = [
        make_node("Add", ["x", "x"], ["a"]),
        make_node("Relu", ["a"], ["b"]),
        make_node("Sigmoid", ["a"], ["c"]),
        make_node("Mul", ["b", "c"], ["d"]),
        make_node("Transpose", ["a"], ["t"], perm=[1, 0]),
        make_node("MatMul", ["d", "t"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(6, 40)}, outputs=("y", "b"))


def test_squeeze_and_excite(tmp_path: Path) -> None:
    c = 44
    constants = {
        "w1": random(11, c, 1, 1),
        "b1": random(11),
        "w2": random(c, 11, 1, 1),
        "b2": random(c, seed=3),
    }
    nodes = [
        make_node("GlobalAveragePool", ["x"], ["p"]),
        make_node("Conv", ["p", "w1", "b1"], ["c1"]),
        make_node("Relu", ["c1"], ["r"]),
        make_node("Conv", ["r", "w2", "b2"], ["c2"]),
        make_node("HardSigmoid", ["c2"], ["s"], alpha=0.2, beta=0.5),
        make_node("Mul", ["x", "s"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(2, c, 9, 7)}, constants)


@pytest.mark.parametrize("mode", ["FB12", "FB16", "FB24"])
def test_attention(mode: str, tmp_path: Path) -> None:
    b, t, d, h = 2, 13, 36, 3
    constants = {
        "wq": random(d, d, seed=1),
        "wk": random(d, d, seed=2),
        "wv": random(d, d, seed=3),
        "scale": np.asarray(1 / np.sqrt(d / h), np.float32),
        "heads": np.asarray([b, t, h, d // h]),
        "joined": np.asarray([b, t, d]),
        "g": random(d, seed=4),
        "e": random(d, seed=5),
        "mask": np.triu(np.full((t, t), -1e9, np.float32), 1),
    }
    nodes = []
    for name, permutation in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            make_node("MatMul", ["x", f"w{name}"], [f"{name}1"]),
            make_node("Reshape", [f"{name}1", "heads"], [f"{name}2"]),
            make_node("Transpose", [f"{name}2"], [name], perm=permutation),
        ]
    nodes += [
        make_node("MatMul", ["q", "k"], ["s1"]),
        make_node("Mul", ["s1", "scale"], ["s2"]),
        make_node("Add", ["s2", "mask"], ["s3"]),
        make_node("Softmax", ["s3"], ["p"], axis=-1),
        make_node("MatMul", ["p", "v"], ["o"]),
        make_node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
        make_node("Reshape", ["o1", "joined"], ["o2"]),
        make_node("Add", ["o2", "x"], ["o3"]),
        make_node("LayerNormalization", ["o3", "g", "e"], ["y"], axis=-1),
    ]
    run(tmp_path, nodes, {"x": random(b, t, d)}, constants, policy=mode)
