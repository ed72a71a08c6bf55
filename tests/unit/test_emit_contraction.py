"""Streams of convolutions and matrix products give the bytes of their graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from flexc.options import BatchNorm, CompileOptions
from tests.onnx_models import build, make_node
from tests.stream_agreement import check_agreement

Array: TypeAlias = npt.NDArray[Any]
MODES = ("FB12", "FB16", "FB24")


def spread(*shape: int, seed: int = 0) -> Array:
    """fp32 numbers with exponents up to 24 apart: an order of sums other than the specified one shows."""
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 13, shape))).astype(np.float32)


def positive(*shape: int, seed: int = 0) -> Array:
    return np.abs(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32) + np.float32(0.5)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "three_by_three": ((2, 70, 9, 11), (12, 70, 3, 3), {"pads": [1, 1, 1, 1]}),
    "image_input": ((1, 3, 23, 19), (16, 3, 7, 7), {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    "one_by_one_strided": ((1, 220, 9, 9), (10, 220, 1, 1), {"strides": [2, 2]}),
    "one_by_one_padded": ((1, 5, 4, 4), (3, 5, 1, 1), {"pads": [1, 0, 2, 1]}),
    "asymmetric_pads": ((1, 8, 6, 7), (5, 8, 3, 2), {"pads": [2, 0, 1, 3]}),
    "dilated": ((1, 9, 13, 12), (7, 9, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "mixed_strides": ((1, 6, 11, 10), (4, 6, 3, 1), {"strides": [3, 2]}),
    "grouped": ((2, 24, 7, 7), (20, 6, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "grouped_wide": ((1, 240, 5, 5), (8, 120, 1, 1), {"group": 2}),
    "depthwise": ((2, 37, 8, 9), (37, 1, 3, 3), {"group": 37, "pads": [1, 1, 1, 1]}),
    "depthwise_strided": ((1, 250, 9, 9), (250, 1, 5, 5), {"group": 250, "pads": [2] * 4, "strides": [2, 2]}),
    "depthwise_multiplier": ((1, 10, 6, 6), (30, 1, 3, 3), {"group": 10}),
    "depthwise_one_by_one": ((1, 10, 3, 3), (10, 1, 1, 1), {"group": 10}),
    "one_dimensional": ((2, 33, 40), (17, 33, 5), {"pads": [2, 1], "strides": [2]}),
    "one_pixel": ((2, 130, 1, 1), (7, 130, 1, 1), {}),
    "window_larger_than_input": ((1, 4, 3, 3), (6, 4, 5, 5), {"pads": [2, 2, 2, 2]}),
    "column_in_the_padding": ((1, 150, 13, 1), (3, 150, 3, 1), {"strides": [2, 2], "pads": [1, 1, 2, 0]}),
    "many_channels": ((1, 450, 6, 6), (330, 450, 3, 3), {"pads": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, mode: str, tmp_path: Path) -> None:
    x_shape, w_shape, attributes = CONVOLUTIONS[name]
    constants = {"w": spread(*w_shape, seed=1), "b": spread(w_shape[0], seed=2)}
    model = build(
        [make_node("Conv", ["x", "w", "b"], ["y"], **attributes)], {"x": spread(*x_shape)}, constants
    )
    check_agreement(model, {"x": spread(*x_shape)}, tmp_path, CompileOptions(policy=mode))


def block(channels: int, outputs: int, activation: str, **conv: Any) -> tuple[list[Any], dict[str, Array]]:
    """conv - batch norm - activation - conv, the activation's result being an output too."""
    group = conv.get("group", 1)
    names = ["gamma", "beta", "mean", "variance"]
    constants = {
        "w1": spread(outputs, channels // group, 3, 3, seed=1),
        "w2": spread(9, outputs, 1, 1, seed=2),
        "gamma": spread(outputs, seed=3),
        "beta": spread(outputs, seed=4),
        "mean": spread(outputs, seed=5),
        "variance": positive(outputs, seed=6),
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["c"], pads=[1, 1, 1, 1], **conv),
        make_node("BatchNormalization", ["c", *names], ["n"]),
        make_node(activation, ["n"], ["a"]) if activation else make_node("Identity", ["n"], ["a"]),
        make_node("Conv", ["a", "w2"], ["y"]),
    ]
    return nodes, constants


@pytest.mark.parametrize("batchnorm", list(BatchNorm))
@pytest.mark.parametrize("activation", ["", "Relu", "HardSwish", "Sigmoid"])
@pytest.mark.parametrize("kept", [False, True])
def test_norm_and_activation_in_the_group(
    kept: bool, activation: str, batchnorm: BatchNorm, tmp_path: Path
) -> None:
    nodes, constants = block(70, 36, activation)
    x = spread(2, 70, 9, 11)
    model = build(nodes, {"x": x}, constants, outputs=("y", "a") if kept else ("y",))
    found = check_agreement(model, {"x": x}, tmp_path, CompileOptions(batchnorm=batchnorm))
    assert [group.label.split()[0] for group in found.stream.groups] == [
        "convert",
        "contraction",
        "contraction",
    ]


@pytest.mark.parametrize(("channels", "outputs", "group"), [(24, 24, 24), (12, 18, 3), (8, 20, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_norm_after_grouped_convolutions(
    channels: int, outputs: int, group: int, mode: str, tmp_path: Path
) -> None:
    nodes, constants = block(channels, outputs, "Relu", group=group)
    x = spread(1, channels, 6, 5)
    model = build(nodes, {"x": x}, constants, outputs=("y", "a"))
    check_agreement(model, {"x": x}, tmp_path, CompileOptions(policy=mode))


PRODUCTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "plain": ((5, 300), (300, 7)),
    "one_row": ((1, 512), (512, 100)),
    "rows_of_batches": ((2, 3, 9, 70), (70, 12)),
    "batched": ((3, 9, 70), (3, 70, 12)),
    "heads": ((2, 4, 9, 33), (2, 4, 33, 9)),
    "left_broadcast": ((1, 9, 30), (4, 30, 6)),
    "middle_broadcast": ((2, 3, 5, 30), (2, 1, 30, 6)),
    "outer_broadcast": ((2, 3, 5, 30), (1, 3, 30, 6)),
    "left_without_batch": ((5, 30), (2, 3, 30, 6)),
    "many_rows": ((700, 64), (64, 3)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_product_of_activations(name: str, mode: str, tmp_path: Path) -> None:
    a_shape, b_shape = PRODUCTS[name]
    inputs = {"a": spread(*a_shape, seed=1), "b": spread(*b_shape, seed=2)}
    model = build([make_node("MatMul", ["a", "b"], ["y"])], inputs)
    check_agreement(model, inputs, tmp_path, CompileOptions(policy=mode))


@pytest.mark.parametrize("mode", MODES)
def test_linear_layers(mode: str, tmp_path: Path) -> None:
    inputs = {"x": spread(3, 7, 130)}
    constants = {"w1": spread(130, 250), "b1": spread(250), "w2": spread(250, 9), "b2": spread(9)}
    nodes = [
        make_node("MatMul", ["x", "w1"], ["p"]),
        make_node("Add", ["p", "b1"], ["l"]),
        make_node("Relu", ["l"], ["r"]),
        make_node("MatMul", ["r", "w2"], ["q"]),
        make_node("Add", ["q", "b2"], ["y"]),
    ]
    check_agreement(build(nodes, inputs, constants), inputs, tmp_path, CompileOptions(policy=mode))


@pytest.mark.parametrize("rounding", ["nearest", "truncate", "stochastic"])
def test_roundings(rounding: str, tmp_path: Path) -> None:
    nodes, constants = block(70, 36, "Relu")
    x = spread(2, 70, 9, 11)
    model = build(nodes, {"x": x}, constants)
    check_agreement(model, {"x": x}, tmp_path, CompileOptions(rounding=rounding))


@pytest.mark.parametrize("rounding", ["truncate", "stochastic"])
def test_roundings_of_a_product(rounding: str, tmp_path: Path) -> None:
    inputs = {"a": spread(2, 4, 9, 33, seed=1), "b": spread(2, 4, 33, 9, seed=2)}
    nodes = [make_node("MatMul", ["a", "b"], ["p"]), make_node("MatMul", ["p", "a"], ["y"])]
    check_agreement(build(nodes, inputs), inputs, tmp_path, CompileOptions(rounding=rounding))
