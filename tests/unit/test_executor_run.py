"""Running emitted programs: quantized weights, the hook, and errors that name the node."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import flexc
from flexc import numerics
from flexc.backends.executor.emit import emit_program
from flexc.backends.executor.run import Executable, Kept, explain, weights_of
from flexc.ir.program import Graph, parse_module
from tests.conftest import Golden

Array = npt.NDArray[Any]

QUANTIZED = """
func.func @main(%x: tensor<2x6xf32>) -> tensor<2x3xf32> attributes {inputs = ["x"], outputs = ["y"]} {
  %w = bfp.constant "w" : !bfp.tensor<6x3, m8, tile [4, 1]>
  %x_q = bfp.quantize %x {rounding = "stochastic", seed = 5 : i64, stream = 3 : i64,
    source = #nn.source<"fc", "Gemm", 7>} : tensor<2x6xf32> -> !bfp.tensor<2x6, m4, tile [1, 4]>
  %fc = bfp.matmul %x_q, %w {source = #nn.source<"fc", "Gemm", 7>}
    : !bfp.tensor<2x6, m4, tile [1, 4]>, !bfp.tensor<6x3, m8, tile [4, 1]> -> tensor<2x3xf32>
  func.return %fc : tensor<2x3xf32>
}
"""
X = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)


def quantized_graph() -> Graph:
    graph = Graph(parse_module(QUANTIZED), file="fc.onnx")
    graph.weights.add_block("w", numerics.quantize(W, mantissa_bits=8, tile=(4, 1)))
    return graph


def expected() -> Array:
    x = numerics.quantize(X, mantissa_bits=4, tile=(1, 4), rounding="stochastic", seed=5, stream=3)
    return numerics.block_matmul(x, numerics.quantize(W, mantissa_bits=8, tile=(4, 1)))


def test_weights_of_the_graph_and_of_the_file_give_the_same_bytes(tmp_path: Path) -> None:
    graph = quantized_graph()
    text = emit_program(graph).text
    graph.weights.save(tmp_path / "weights.safetensors")
    in_memory = Executable(text, "<fc>", weights_of(graph)).run({"x": X})["y"]
    from_file = Executable(text, str(tmp_path / "executor.py")).run({"x": X})["y"]
    assert in_memory.tobytes() == from_file.tobytes() == expected().tobytes()


def test_the_whole_program(golden: Golden) -> None:
    text = emit_program(quantized_graph()).text
    golden.check("executor/quantized.py.txt", text.replace(flexc.__version__, "VERSION"))


def test_weights_are_loaded_once(tmp_path: Path) -> None:
    graph = quantized_graph()
    graph.weights.save(tmp_path / "weights.safetensors")
    executable = Executable(emit_program(graph).text, str(tmp_path / "executor.py"))
    first = executable.run({"x": X})
    (tmp_path / "weights.safetensors").unlink()
    assert executable.run({"x": X})["y"].tobytes() == first["y"].tobytes()


def test_kept_quantized_values_are_two_arrays() -> None:
    graph = quantized_graph()
    kept = Kept()
    Executable(emit_program(graph).text, "<fc>", weights_of(graph)).run({"x": X}, kept)
    assert list(kept.arrays) == ["x_q.mantissa", "x_q.exponent", "fc"]
    assert kept.arrays["x_q.mantissa"].shape == (2, 6)
    assert kept.arrays["x_q.exponent"].shape == (2, 2)
    assert kept.arrays["fc"].tobytes() == expected().tobytes()


def test_a_nan_is_an_error_that_names_the_node() -> None:
    graph = quantized_graph()
    emitted = emit_program(graph)
    executable = Executable(emitted.text, "<fc>", weights_of(graph))
    x = X.copy()
    x[1, 4] = np.nan
    with pytest.raises(numerics.NonFiniteError) as failure:
        executable.run({"x": x})
    line = executable.line_of(failure.value)
    assert line is not None
    message = str(explain(failure.value, emitted.step_at(line), graph.file))
    assert re.match(r"error\[FX601\]: 'fc' \(Gemm, node 7\): .* that computes 'x_q' met a NaN", message)
    assert "fc.onnx, tensor 'x' at index [1, 4]" in message


def test_a_crash_shows_the_line_of_the_program() -> None:
    graph = quantized_graph()
    with pytest.raises(KeyError) as failure:
        Executable(emit_program(graph).text, "<fc>", {}).run({"x": X})
    assert 'fc = block_matmul(x_q, w["w"])' in "".join(traceback.format_exception(failure.value))


def test_outputs_are_copies_even_of_constants_and_inputs() -> None:
    text = """
    func.func @main(%x: tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<2xf32>, tensor<2x3xf32>)
        attributes {inputs = ["x"], outputs = ["t", "c", "same"]} {
      %c = nn.constant "c" : tensor<2xf32>
      %t = nn.transpose %x {permutation = array<i64: 1, 0>} : tensor<2x3xf32> -> tensor<3x2xf32>
      func.return %t, %c, %x : tensor<3x2xf32>, tensor<2xf32>, tensor<2x3xf32>
    }
    """
    graph = Graph(parse_module(text))
    graph.weights.add("c", np.array([1, 2], np.float32))
    x = X[:, :3]
    weights = weights_of(graph)
    outputs = Executable(emit_program(graph).text, "<t>", weights).run({"x": x})
    assert list(outputs) == ["t", "c", "same"]
    for array in outputs.values():
        assert array.flags.c_contiguous
        assert not any(np.shares_memory(array, other) for other in (x, weights["c"]))
    np.testing.assert_array_equal(outputs["t"], x.T)
    np.testing.assert_array_equal(outputs["same"], x)
