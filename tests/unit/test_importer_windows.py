"""Pooling, reductions and resampling against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.onnx_models import assert_matches, build, make_node, op_names, random, save

X = random(2, 3, 8, 7)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2]},
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ],
)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("opset", [10, 22])
def test_pool(attributes: dict[str, Any], operator: str, opset: int, tmp_path: Path) -> None:
    model = build([make_node(operator, ["x"], ["y"], **attributes)], {"x": X}, opset=opset)
    assert_matches(model, {"x": X}, tmp_path)


@pytest.mark.parametrize("attributes", [{"ceil_mode": 0}, {"ceil_mode": 1, "strides": [3, 3]}])
def test_average_pool_counts_padding(attributes: dict[str, Any], tmp_path: Path) -> None:
    node = make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, **attributes
    )
    assert_matches(build([node], {"x": X}, opset=19), {"x": X}, tmp_path)


@pytest.mark.parametrize(("operator", "opset"), [("MaxPool", 11), ("AveragePool", 19)])
def test_dilated_pool(operator: str, opset: int, tmp_path: Path) -> None:
    node = make_node(operator, ["x"], ["y"], kernel_shape=[2, 3], dilations=[2, 2], pads=[1, 1, 0, 0])
    assert_matches(build([node], {"x": X}, opset=opset), {"x": X}, tmp_path)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pool_of_one_dimension(operator: str, tmp_path: Path) -> None:
    x = random(2, 3, 9)
    node = make_node(operator, ["x"], ["y"], kernel_shape=[3], strides=[2], pads=[1, 1])
    assert_matches(build([node], {"x": x}, opset=11), {"x": x}, tmp_path)


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 8, 7), (2, 3, 5)])
def test_global_pool(operator: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = random(*shape)
    graph = assert_matches(build([make_node(operator, ["x"], ["y"])], {"x": x}), {"x": x}, tmp_path)
    assert op_names(graph) == ["nn.reduce_mean" if operator == "GlobalAveragePool" else "nn.reduce_max"]


@pytest.mark.parametrize(
    ("attributes", "outputs", "message"),
    [
        ({}, ("y",), "attribute 'kernel_shape' is missing"),
        ({"kernel_shape": [2, 2], "storage_order": 1}, ("y",), "FX205.*storage_order"),
        ({"kernel_shape": [2, 2]}, ("y", "indices"), r"FX205.*output 1 \('indices'\) is used"),
        ({"kernel_shape": [9, 2]}, ("y",), "the window covers 9"),
        ({"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, ("y",), "may not lie in the padding"),
    ],
)
def test_max_pool_that_does_not_fit(
    attributes: dict[str, Any], outputs: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    model = build([make_node("MaxPool", ["x"], outputs, **attributes)], {"x": X}, outputs=outputs)
    with pytest.raises(CompileError, match=message):
        load_model(save(model, tmp_path))


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMax"])
@pytest.mark.parametrize("axes", [None, (1,), (2, 3), (-1, 0)])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reduction(
    operator: str, axes: tuple[int, ...] | None, keepdims: int, opset: int, tmp_path: Path
) -> None:
    by_attribute = opset < (13 if operator == "ReduceSum" else 18)
    attributes: dict[str, Any] = {"keepdims": keepdims}
    constants = {}
    if axes is not None and by_attribute:
        attributes["axes"] = axes
    elif axes is not None:
        constants["axes"] = np.array(axes, np.int64)
    node = make_node(operator, ["x", *constants], ["y"], **attributes)
    assert_matches(build([node], {"x": X}, constants, opset=opset), {"x": X}, tmp_path)


def test_reduction_of_nothing(tmp_path: Path) -> None:
    node = make_node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)
    model = build([node, make_node("Relu", ["y"], ["z"])], {"x": X}, opset=13, outputs=("z",))
    assert op_names(assert_matches(model, {"x": X}, tmp_path)) == ["nn.relu"]


IMAGE = random(1, 2, 6, 5)
MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize(("size", "opset"), [((12, 10), 11), ((9, 7), 19), ((4, 1), 13)])
def test_resize_nearest(mode: str, nearest: str, size: tuple[int, int], opset: int, tmp_path: Path) -> None:
    constants = {"sizes": np.array([1, 2, *size], np.int64)}
    node = make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=nearest,
    )
    if opset < 13:
        constants |= {"roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32)}
        node.input[1], node.input[2] = "roi", "scales"
    assert_matches(build([node], {"x": IMAGE}, constants, opset=opset), {"x": IMAGE}, tmp_path, tolerance=0)


@pytest.mark.parametrize("mode", [*MODES, "half_pixel_symmetric"])
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.5, 0.6), (0.5, 3.3), (1.0, 2.0)])
def test_resize_linear(mode: str, scales: tuple[float, float], tmp_path: Path) -> None:
    constants = {"scales": np.array([1, 1, *scales], np.float32)}
    node = make_node("Resize", ["x", "", "scales"], ["y"], mode="linear", coordinate_transformation_mode=mode)
    assert_matches(build([node], {"x": IMAGE}, constants, opset=19), {"x": IMAGE}, tmp_path)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2.0, 3.0), (0.6, 1.0)])
def test_resize_of_opset_10(mode: str, scales: tuple[float, float], tmp_path: Path) -> None:
    constants = {"scales": np.array([1, 1, *scales], np.float32)}
    node = make_node("Resize", ["x", "scales"], ["y"], mode=mode)
    assert_matches(build([node], {"x": IMAGE}, constants, opset=10), {"x": IMAGE}, tmp_path)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [8, 9])
def test_upsample(mode: str, opset: int, tmp_path: Path) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    constants = {} if opset < 9 else {"scales": np.array(scales, np.float32)}
    attributes = {"scales": scales} if opset < 9 else {}
    node = make_node("Upsample", ["x", *constants], ["y"], mode=mode, **attributes)
    assert_matches(build([node], {"x": IMAGE}, constants, opset=opset), {"x": IMAGE}, tmp_path)


def test_resize_along_axes(tmp_path: Path) -> None:
    constants = {"sizes": np.array([9], np.int64)}
    node = make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", axes=[2])
    graph = assert_matches(build([node], {"x": IMAGE}, constants, opset=18), {"x": IMAGE}, tmp_path)
    assert op_names(graph) == ["nn.gather", "nn.gather", "nn.sub", "nn.mul", "nn.add"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"mode": "cubic"}, "attribute 'mode' is 'cubic', which is not supported"),
        ({"antialias": 1}, "antialias"),
        ({"keep_aspect_ratio_policy": "not_larger"}, "keep_aspect_ratio_policy"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
    ],
)
def test_resize_that_is_not_supported(attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    constants = {"sizes": np.array([1, 2, 3, 3], np.int64)}
    node = make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    with pytest.raises(CompileError, match=message):
        load_model(save(build([node], {"x": IMAGE}, constants, opset=18), tmp_path))
