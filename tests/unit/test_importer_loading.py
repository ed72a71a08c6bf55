"""Files that load: element types, external data, order of nodes, names, and the models that ONNX ships."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from flexc.importer.operators import OPERATORS
from flexc.importer.opset import NEWEST_OPSET
from flexc.ir.program import parse_module
from tests.onnx_models import Array, assert_matches, build, make_node, random, save

LIGHT_MODELS = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


def stored_weight(tensor: onnx.TensorProto, folder: Path) -> Array:
    """What the importer makes of an initializer that is the output."""
    model = build([make_node("Identity", ["w"], ["y"])], {})
    tensor.name = "w"
    model.graph.initializer.append(tensor)
    return load_model(save(model, folder)).weights.get("w")


@pytest.mark.parametrize(
    ("data_type", "values"),
    [
        (TensorProto.FLOAT, [1.5, -2.0]),
        (TensorProto.DOUBLE, [1.5, -2.0]),
        (TensorProto.FLOAT16, [1.5, -65504.0]),
        (TensorProto.BFLOAT16, [1.5, -2.0]),
        (TensorProto.INT64, [2**40, -3]),
        (TensorProto.INT32, [7, -3]),
        (TensorProto.BOOL, [True, False]),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_element_types(data_type: int, values: list[float], raw: bool, tmp_path: Path) -> None:
    array = np.array(values).astype(helper.tensor_dtype_to_np_dtype(data_type))
    tensor = helper.make_tensor("w", data_type, [2], array.tobytes() if raw else array, raw=raw)
    stored = stored_weight(tensor, tmp_path)
    np.testing.assert_array_equal(stored, np.array(values, stored.dtype))
    assert str(stored.dtype) in {"float32", "int64", "int32", "bool"}


def test_raw_weights_are_not_copied(tmp_path: Path) -> None:
    stored = stored_weight(numpy_helper.from_array(random(64, 64)), tmp_path)
    assert not stored.flags.owndata
    assert not stored.flags.writeable


@pytest.mark.parametrize("location", ["weights.bin", "parts/weights.bin", "link.bin"])
def test_external_data(location: str, tmp_path: Path) -> None:
    """In a folder, behind an offset, or behind a link that stays inside."""
    array = random(3, 5)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "weights.bin").write_bytes(bytes(64) + array.tobytes() + bytes(7))
    (tmp_path / "weights.bin").write_bytes(bytes(64) + array.tobytes())
    (tmp_path / "link.bin").symlink_to("parts/weights.bin")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "64", "length": "60", "checksum": "?"}.items():
        tensor.external_data.add(key=key, value=value)
    np.testing.assert_array_equal(stored_weight(tensor, tmp_path), array)


def test_nodes_in_any_order(tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["b"], ["y"]), make_node("Neg", ["a"], ["b"]), make_node("Tanh", ["x"], ["a"])]
    graph = load_model(save(build(nodes, {"x": random(3)}), tmp_path))
    names = [op.name for op in graph.main.body.block.ops]
    assert names == ["nn.tanh", "nn.neg", "nn.relu", "func.return"]


def test_dead_nodes_are_left_out(tmp_path: Path) -> None:
    nodes = [make_node("Unheard", ["x"], ["z"]), make_node("Relu", ["x"], ["y"])]
    graph = load_model(save(build(nodes, {"x": random(3)}), tmp_path))
    assert [op.name for op in graph.main.body.block.ops] == ["nn.relu", "func.return"]


def test_names_in_the_ir_are_identifiers_of_their_own(tmp_path: Path) -> None:
    names = ["x", "conv/out:0", "conv_out_0", "3", "v3", "relu_3", "relu3", "ünïcode", "y"]
    nodes = [make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    graph = assert_matches(build(nodes, {"x": random(3)}), {"x": random(3)}, tmp_path)
    hints = [value.name_hint for op in graph.main.body.block.ops for value in op.results]
    assert len(set(hints)) == len(hints) == len(nodes)
    text = str(graph.module)
    assert all(f"%{hint} =" in text for hint in hints)


def test_a_weight_used_twice_is_one_constant(tmp_path: Path) -> None:
    nodes = [make_node("Add", ["x", "w"], ["a"]), make_node("Mul", ["a", "w"], ["y"])]
    graph = load_model(save(build(nodes, {"x": random(3)}, {"w": random(3)}), tmp_path))
    assert str(graph.module).count("nn.constant") == 1


def test_an_output_may_be_an_input_or_a_constant(tmp_path: Path) -> None:
    nodes = [make_node("Identity", ["x"], ["same"]), make_node("Shape", ["x"], ["shape"])]
    model = build(nodes, {"x": random(2, 3)}, outputs=("same", "shape"))
    assert_matches(model, {"x": random(2, 3)}, tmp_path, tolerance=0)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_versions_are_those_of_onnx(operator: str) -> None:
    """No form is claimed for an opset in which ONNX had no such operator."""
    versions = OPERATORS[operator]
    introduced = min(
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == operator and schema.domain == ""
    )
    assert min(versions) >= introduced
    assert max(versions) <= NEWEST_OPSET


@pytest.mark.parametrize("path", LIGHT_MODELS, ids=lambda path: path.stem)
def test_models_that_onnx_ships(path: Path) -> None:
    """Opset 9 with the habits of its time: weights as inputs, made by ConstantOfShape, Softmax over rows."""
    graph = load_model(path)
    graph.module.verify()
    text = str(graph.module)
    assert str(parse_module(text)) == text


def test_large_models_import_fast(tmp_path: Path) -> None:
    """100 MB of weights in 60 layers, well under a second (0.2 s on two shared cores)."""
    nodes, constants, value = [], {}, "x"
    weight = random(256, 1638)
    for layer in range(60):
        constants[f"w{layer}"] = weight if layer % 2 == 0 else weight.T.copy()
        nodes.append(make_node("MatMul", [value, f"w{layer}"], [f"v{layer}"]))
        value = f"v{layer}"
    path = save(build(nodes, {"x": random(1, 256)}, constants, outputs=(value,)), tmp_path)
    started = time.process_time()
    load_model(path)
    assert time.process_time() - started < 1.0


def test_opset_of_another_domain_alone(tmp_path: Path) -> None:
    model = build([make_node("Relu", ["x"], ["y"])], {"x": random(3)})
    model.opset_import[0].domain = "ai.onnx.ml"
    with pytest.raises(CompileError, match="one opset version of the ONNX operators is needed, found none"):
        load_model(save(model, tmp_path))
