"""The weight store: what it holds is what it loads again, scalars and arrays in any order in memory too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexc.ir import nn
from flexc.ir.program import Graph, parse_module
from flexc.ir.weight_store import WeightStore
from flexc.passes.canonicalize import Canonicalize


@pytest.mark.parametrize(
    "array",
    [
        np.array(7, np.int64),
        np.array(-0.0, np.float32),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        np.zeros((2, 0, 3), np.float32),
    ],
    ids=["integer scalar", "negative zero", "transposed", "strided", "empty"],
)
def test_arrays_are_loaded_as_they_were_saved(array: np.ndarray, tmp_path: Path) -> None:
    store = WeightStore()
    key = store.add("w", array)
    store.save(tmp_path / "weights.safetensors")
    found = WeightStore.load(tmp_path / "weights.safetensors").get(key)
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert found.tobytes() == array.tobytes()


def test_a_folded_scalar_stays_a_scalar() -> None:
    text = """
    func.func @main(%x: tensor<f32>) -> tensor<f32> attributes {inputs = ["x"], outputs = ["y"]} {
      %two = nn.constant "two" : tensor<f32>
      %minus = nn.neg %two : tensor<f32> -> tensor<f32>
      %y = nn.mul %x, %minus : tensor<f32>, tensor<f32> -> tensor<f32>
      func.return %y : tensor<f32>
    }"""
    store = WeightStore()
    store.add("two", np.array(2, np.float32))
    graph = Graph(parse_module(text, "scalar.mlir"), store, "scalar.mlir")
    assert Canonicalize().run(graph)
    graph.module.verify()
    constant, product, _ = graph.main.body.block.ops
    assert isinstance(constant, nn.ConstantOp)
    assert constant.out.type == product.results[0].type
    assert graph.weights.get(constant.key.data).shape == ()
    assert graph.weights.get(constant.key.data) == -2
