"""The emitted program: total over the ops, right names, dead values freed, hostile names harmless."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from flexc import numerics
from flexc.backends.executor.emit import emit_program, input_specs
from flexc.backends.executor.run import Executable, weights_of
from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.attributes import source
from flexc.ir.kernel_calls import KERNEL_CALLS
from flexc.ir.program import Graph, parse_module
from flexc.ir.value_names import value_names

SMALL = """
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x3x4x4xf32>
    attributes {inputs = ["in"], outputs = ["out"]} {
  %w = nn.constant "conv.w" : tensor<3x2x1x1xf32>
  %conv = nn.conv %x, %w {stride = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>,
    dilation = array<i64: 1, 1>, group = 1 : i64, source = #nn.source<"conv", "Conv", 0>}
    : tensor<1x2x4x4xf32>, tensor<3x2x1x1xf32> -> tensor<1x3x4x4xf32>
  %relu = nn.relu %conv {source = #nn.source<"act", "Relu", 1>} : tensor<1x3x4x4xf32> -> tensor<1x3x4x4xf32>
  %sum = nn.add %relu, %conv {source = #nn.source<"sum", "Add", 2>}
    : tensor<1x3x4x4xf32>, tensor<1x3x4x4xf32> -> tensor<1x3x4x4xf32>
  func.return %sum : tensor<1x3x4x4xf32>
}
"""


def small_graph() -> Graph:
    graph = Graph(parse_module(SMALL), file="small.onnx")
    graph.weights.add("conv.w", np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1) - 3)
    return graph


Array = npt.NDArray[np.float32]


def inputs() -> dict[str, Array]:
    return {"in": np.random.default_rng(1).standard_normal((1, 2, 4, 4)).astype(np.float32)}


def expected(x: Array) -> Array:
    w = np.arange(6, dtype=np.float32).reshape(3, 2) - 3
    conv = np.einsum("oc,nchw->nohw", w, x)
    result: Array = np.where(conv > 0, conv, 0) + conv
    return result


def operations() -> list[type[Operation]]:
    return [op for dialect in (nn.NN, bfp.BFP, lightnorm.LIGHTNORM, train.TRAIN) for op in dialect.operations]


def test_every_op_has_a_kernel_or_is_a_constant() -> None:
    assert set(operations()) == set(KERNEL_CALLS) | {nn.ConstantOp, bfp.ConstantOp}


def test_program_computes_the_graph() -> None:
    graph = small_graph()
    outputs = Executable(emit_program(graph).text, "<small>", weights_of(graph)).run(inputs())
    np.testing.assert_allclose(outputs["out"], expected(inputs()["in"]), rtol=1e-6)


def test_statements_stand_in_order_under_their_node_and_values_are_freed() -> None:
    text = emit_program(small_graph()).text
    body = text[text.index("    x = inputs") : text.index("    return {")].splitlines()
    assert [line.strip() for line in body if line.strip()] == [
        'x = inputs["in"]',
        "# conv (Conv, node 0)",
        'conv_0 = conv(x, w["conv.w"], stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), group=1)',
        "del x",
        "keep(conv_0=conv_0)",
        "# act (Relu, node 1)",
        "relu_0 = relu(conv_0)",
        "keep(relu_0=relu_0)",
        "# sum (Add, node 2)",
        "sum = add(relu_0, conv_0)",
        "del relu_0, conv_0",
        "keep(sum=sum)",
    ]


def test_a_value_that_nothing_uses_is_freed_after_its_node() -> None:
    text = SMALL.replace("func.return %sum", "func.return %relu")
    lines = [line.strip() for line in emit_program(Graph(parse_module(text))).text.splitlines()]
    assert lines[lines.index("keep(sum=sum)") + 1] == "del sum"
    assert "del relu_0" not in "".join(lines)


def test_lines_of_steps_cover_their_statements() -> None:
    emitted = emit_program(small_graph())
    lines = emitted.text.splitlines()
    for step in emitted.steps:
        assert lines[step.first_line - 1].strip().startswith(f"{step.variable} = ")
        assert emitted.step_at(step.first_line) is step
    assert emitted.step_at(1) is None


def test_keep_sees_every_intermediate_in_order() -> None:
    graph = small_graph()
    kept: list[str] = []
    Executable(emit_program(graph).text, "<small>", weights_of(graph)).run(
        inputs(), keep=lambda **values: kept.extend(values)
    )
    assert kept == ["conv_0", "relu_0", "sum"]


@pytest.mark.parametrize("name", ["a\nimport os\nos.abort()", 'quote " \\ """', "tab\t\u2028end", "é 漢"])
def test_hostile_names_stay_in_comments_and_strings(name: str) -> None:
    graph = small_graph()
    graph.file = f"/models/{name.replace('/', '')}"
    for op in graph.main.body.block.ops:
        op.attributes["source"] = source(name, name, 3)
        if isinstance(op, nn.ConstantOp):
            op.attributes["key"] = StringAttr(graph.weights.add(name, graph.weights.get("conv.w")))
    outputs = Executable(emit_program(graph).text, "<small>", weights_of(graph)).run(inputs())
    np.testing.assert_allclose(outputs["out"], expected(inputs()["in"]), rtol=1e-6)


def test_value_names_are_identifiers_and_unique() -> None:
    text = """
    func.func @main(%in: tensor<2xf32>) -> tensor<2xf32> attributes {inputs = ["x"], outputs = ["y"]} {
      %0 = nn.relu %in : tensor<2xf32> -> tensor<2xf32>
      %a.b = nn.relu %0 : tensor<2xf32> -> tensor<2xf32>
      %a$b = nn.relu %a.b : tensor<2xf32> -> tensor<2xf32>
      %a.b_7 = nn.relu %a$b : tensor<2xf32> -> tensor<2xf32>
      %relu = nn.relu %a.b_7 : tensor<2xf32> -> tensor<2xf32>
      func.return %relu : tensor<2xf32>
    }
    """
    names = value_names(Graph(parse_module(text)).main)
    assert list(names.values()) == ["in_0", "v0", "a_b", "a_b_", "a_b_1", "relu_0"]


def test_infinite_parameters_are_python() -> None:
    text = """
    func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> attributes {inputs = ["x"], outputs = ["y"]} {
      %y = nn.clip %x {minimum = 0.1 : f32, maximum = 0x7F800000 : f32} : tensor<2xf32> -> tensor<2xf32>
      func.return %y : tensor<2xf32>
    }
    """
    x = np.array([-1, 1e30], np.float32)
    result = Executable(emit_program(Graph(parse_module(text))).text, "<clip>", {}).run({"x": x})["y"]
    assert result.tobytes() == np.array([np.float32(0.1), np.float32(1e30)]).tobytes()


def test_kernels_take_the_keywords_of_their_ops() -> None:
    for op_class in operations():
        if op_class in (nn.ConstantOp, bfp.ConstantOp, bfp.QuantizeOp, lightnorm.InferOp, train.DropoutOp):
            continue
        attributes = op_class.get_irdl_definition().attributes  # type: ignore[attr-defined]
        function = _FUNCTIONS.get(op_class.name, op_class.name.split(".")[1])
        parameters = inspect.signature(getattr(numerics, function)).parameters
        assert set(attributes) - {"source"} <= set(parameters), op_class.name


_FUNCTIONS = {
    "nn.abs": "absolute",
    "nn.pow": "power",
    "nn.slice": "strided_slice",
    "bfp.conv": "block_conv",
    "bfp.conv_local_grad": "block_conv_local_grad",
    "bfp.conv_weight_grad": "block_conv_weight_grad",
    "lightnorm.backward": "lightnorm_train_grad",
    "lightnorm.forward": "lightnorm_train",
    "lightnorm.normalize": "lightnorm_train_normalize",
    "lightnorm.statistics": "lightnorm_train_statistics",
    "train.batch_norm": "batch_norm_train",
    "bfp.matmul": "block_matmul",
}


def test_program_runs_alone(tmp_path: Path) -> None:
    graph = small_graph()
    (tmp_path / "executor.py").write_text(emit_program(graph).text, encoding="utf-8")
    graph.weights.save(tmp_path / "weights.safetensors")
    np.savez(tmp_path / "in.npz", **inputs())  # type: ignore[arg-type]
    command = [sys.executable, "executor.py", "in.npz", "out.npz", "--tensors", "tensors.npz"]
    subprocess.run(command, cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["out"], expected(inputs()["in"]), rtol=1e-6)
    assert sorted(np.load(tmp_path / "tensors.npz")) == ["conv_0", "relu_0", "sum"]


def test_input_specs() -> None:
    assert [str(spec) for spec in input_specs(small_graph())] == ["'in' float32 [1, 2, 4, 4]"]
