"""Distances between runs, by output and by layer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flexc.analysis.compare import compare_outputs, distance
from flexc.analysis.layers import matching_layers
from flexc.ir.program import Graph, parse_module

R = np.array([[3.0, 4.0]], np.float32)


def test_distance_by_hand() -> None:
    found = distance("y", R, np.array([[3.0, 4.5]], np.float32))
    assert found.max_error == 0.5
    assert found.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert found.cosine == pytest.approx((9 + 18) / (5 * math.sqrt(9 + 20.25)))


def test_equal_tensors() -> None:
    found = distance("y", R, R.copy())
    assert (found.max_error, found.sqnr_db) == (0.0, math.inf)
    assert found.cosine == pytest.approx(1.0)


def test_a_zero_reference_has_no_ratio() -> None:
    found = distance("y", np.zeros_like(R), R)
    assert (found.max_error, found.sqnr_db, found.cosine) == (4.0, None, None)


def test_empty_and_large_tensors() -> None:
    assert distance("y", R[:0], R[:0]).max_error == 0.0
    assert distance("y", R * np.float32(1e37), R * np.float32(1e37)).cosine == pytest.approx(1.0)


def test_other_shapes_are_a_bug() -> None:
    with pytest.raises(ValueError, match="'y'"):
        distance("y", R, R.T)


def test_outputs_are_matched_by_name() -> None:
    found = compare_outputs({"b": R, "a": 2 * R}, {"a": 2 * R, "b": R + 1})
    assert [(one.name, one.max_error) for one in found] == [("a", 0.0), ("b", 1.0)]


TYPE = "tensor<1x4x2x2xf32>"
VECTOR = "tensor<4xf32>"
NORM = f"{TYPE}, {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR} -> {TYPE}"
HEAD = f"""
func.func @main(%x: {TYPE}) -> {TYPE} attributes {{inputs = ["x"], outputs = ["y"]}} {{
  %c = nn.constant "c" : {VECTOR}
"""
REFERENCE = f"""{HEAD}
  %a = nn.relu %x {{source = #nn.source<"first", "Relu", 0>}} : {TYPE} -> {TYPE}
  %a_1 = nn.batch_norm %a, %c, %c, %c, %c {{eps = 1.0e-05 : f32,
    source = #nn.source<"bn", "BatchNormalization", 1>}} : {NORM}
  %a_2 = nn.relu %a_1 {{source = #nn.source<"second", "Relu", 2>}} : {TYPE} -> {TYPE}
  %a_3 = nn.relu %a_2 {{source = #nn.source<"third", "Relu", 3>}} : {TYPE} -> {TYPE}
  func.return %a_3 : {TYPE}
}}
"""
COMPILED = f"""{HEAD}
  %a = nn.relu %x {{source = #nn.source<"first", "Relu", 0>}} : {TYPE} -> {TYPE}
  %a_1 = lightnorm.infer %a, %c, %c, %c, %c {{eps = 1.0e-05 : f32, rounding = "nearest", activation = "relu",
    activation_parameters = [], source = #nn.source<"bn", "BatchNormalization", 1>}} : {NORM}
  %q = bfp.quantize %a_1 {{rounding = "nearest", seed = 0 : i64, stream = 0 : i64,
    source = #nn.source<"third", "Relu", 3>}} : {TYPE} -> !bfp.tensor<1x4x2x2, m8, tile [1, 4, 1, 1]>
  %a_2 = bfp.dequantize %q {{source = #nn.source<"third", "Relu", 3>}}
    : !bfp.tensor<1x4x2x2, m8, tile [1, 4, 1, 1]> -> {TYPE}
  func.return %a_2 : {TYPE}
}}
"""


def graph(text: str) -> Graph:
    return Graph(parse_module(text))


def test_layers_are_matched_by_node_and_after_the_fused_activation() -> None:
    found = matching_layers(graph(COMPILED), graph(REFERENCE))
    assert [(one.node_index, one.activation, one.variable, one.reference_variable) for one in found] == [
        (0, "", "a", "a"),
        (1, "relu", "a_1", "a_2"),
        (3, "", "a_2", "a_3"),
    ]


def test_a_fused_activation_that_the_reference_lacks_leaves_the_node_out() -> None:
    other = REFERENCE.replace("nn.relu %a_1", "nn.tanh %a_1")
    assert [one.node_index for one in matching_layers(graph(COMPILED), graph(other))] == [0, 3]
