"""Model files that cannot be loaded, each with one thing wrong unless its name says otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.onnx_models import build, make_node, random, save

Write: TypeAlias = Callable[[Path], None]
"""Writes ``model.onnx``, and what belongs to it, into a folder."""

X = np.zeros((1, 3, 8, 8), np.float32)


def _sound(opset: int = 17) -> onnx.ModelProto:
    nodes = [
        make_node("Conv", ["image", "weight"], ["features"], name="stem/conv"),
        make_node("Relu", ["features"], ["y"], name="stem/relu"),
    ]
    return build(nodes, {"image": X}, {"weight": random(4, 3, 3, 3)}, opset=opset)


def _changed(change: Callable[[onnx.ModelProto], None]) -> Write:
    """The sound model with a change."""

    def write(folder: Path) -> None:
        model = _sound()
        change(model)
        save(model, folder)

    return write


def _node(node: onnx.NodeProto, opset: int = 17, **constants: np.ndarray) -> Write:
    """One node over the image ``x``."""
    return lambda folder: void(
        save(build([node], {"x": X}, constants, opset=opset, outputs=node.output), folder)
    )


def void(_: object) -> None:
    """Drops a result."""


def _bytes(content: bytes) -> Write:
    return lambda folder: void((folder / "model.onnx").write_bytes(content))


def _truncated(folder: Path) -> None:
    content = _sound().SerializeToString()
    (folder / "model.onnx").write_bytes(content[: len(content) // 2])


# Weights outside the file.


def _external(**entries: str) -> Write:
    """The weight in external data; 432 bytes in ``weights.bin`` unless ``entries`` say otherwise."""

    def write(folder: Path) -> None:
        model = _sound()
        (weight,) = model.graph.initializer
        (folder / "weights.bin").write_bytes(weight.raw_data)
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "weights.bin", **entries}.items():
            weight.external_data.add(key=key, value=value)
        save(model, folder)

    return write


def _external_link(folder: Path) -> None:
    outside = folder.parent / "outside.bin"
    outside.write_bytes(bytes(432))
    (folder / "link.bin").symlink_to(outside)
    _external(location="link.bin")(folder)


def _external_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    _external(location="pipe")(folder)


def _external_location_twice(folder: Path) -> None:
    _external()(folder)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    model.graph.initializer[0].external_data.add(key="location", value="other.bin")
    save(model, folder)


# Tensors.


def _weight(model: onnx.ModelProto) -> onnx.TensorProto:
    return model.graph.initializer[0]


def _short_weight(model: onnx.ModelProto) -> None:
    _weight(model).raw_data = _weight(model).raw_data[:-4]


def _resized(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        _weight(model).ClearField("dims")
        _weight(model).dims.extend(dims)

    return change


def _with_element(value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        array = random(4, 3, 3, 3)
        array[2, 1, 0, 2] = value
        _weight(model).raw_data = array.tobytes()

    return change


def _retyped(model: onnx.ModelProto) -> None:
    _weight(model).data_type = TensorProto.UINT8


def _wide_weight(model: onnx.ModelProto) -> None:
    _weight(model).data_type = TensorProto.DOUBLE
    _weight(model).raw_data = np.full((4, 3, 3, 3), 1e300).tobytes()


# Names and order.


def _misspelt(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "feature"


def _missing_output(model: onnx.ModelProto) -> None:
    model.graph.output.add(name="logits")


def _defined_twice(model: onnx.ModelProto) -> None:
    model.graph.node.append(make_node("Tanh", ["image"], ["features"], name="stem/tanh"))


def _initializer_twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(_weight(model))


def _no_output(model: onnx.ModelProto) -> None:
    model.graph.ClearField("output")


def _cycle(folder: Path) -> None:
    nodes = [
        make_node("Add", ["image", "b"], ["a"], name="first"),
        make_node("Relu", ["a"], ["b"], name="second"),
        make_node("Tanh", ["b"], ["y"], name="third"),
    ]
    save(build(nodes, {"image": X}), folder)


# The model as a whole.


def _two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))


def _sequence_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, None))


def _bytes_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _dynamic_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, None, "width"])
    )


def _dynamic_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
    )


def _foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.example"


def _many_problems(folder: Path) -> None:
    """Five root causes, and nodes behind them that are not problems of their own."""
    nodes = [
        make_node("Conv", ["image", "narrow"], ["c"], name="conv"),
        make_node("Relu", ["c"], ["r"], name="behind conv"),
        make_node("Whirl", ["r"], ["w"], name="unknown operator behind conv"),
        make_node("Tanh", ["broken"], ["t"], name="uses a broken weight"),
        make_node("Sigmoid", ["nowhere"], ["s"], name="uses an undefined value"),
        make_node("Reshape", ["image", "shape"], ["y"], name="reshape"),
    ]
    broken = random(5)
    broken[3] = np.inf
    constants = {"narrow": random(4, 2, 3, 3), "broken": broken, "shape": np.array([1, 100], np.int64)}
    save(build(nodes, {"image": X}, constants, outputs=("w", "t", "s", "y")), folder)


BROKEN: dict[str, Write] = {
    "missing_file": lambda folder: None,
    "folder": lambda folder: (folder / "model.onnx").mkdir(),
    "empty": _bytes(b""),
    "text": _bytes(b"import torch\n\nmodel = torch.load('model.pt')\n"),
    "truncated": _truncated,
    "opset_too_new": lambda folder: void(save(_sound(29), folder)),
    "two_opsets": _changed(_two_opsets),
    "external_absolute": _external(location="/etc/passwd"),
    "external_parent": _external(location="../weights.bin"),
    "external_windows_path": _external(location="C:\\weights.bin"),
    "external_link_out": _external_link,
    "external_pipe": _external_pipe,
    "external_missing": _external(location="wieghts.bin"),
    "external_without_location": _external(location=""),
    "external_location_twice": _external_location_twice,
    "external_offset": _external(offset="4"),
    "external_offset_negative": _external(offset="-4"),
    "external_length": _external(length="400"),
    "weight_short": _changed(_short_weight),
    "weight_negative_extent": _changed(_resized(4, 3, -3, -3)),
    "weight_huge": _changed(_resized(2**31, 2**31)),
    "weight_of_uint8": _changed(_retyped),
    "weight_nan": _changed(_with_element(np.nan)),
    "weight_infinite": _changed(_with_element(-np.inf)),
    "weight_beyond_fp32": _changed(_wide_weight),
    "undefined_value": _changed(_misspelt),
    "undefined_output": _changed(_missing_output),
    "defined_twice": _changed(_defined_twice),
    "initializer_twice": _changed(_initializer_twice),
    "no_output": _changed(_no_output),
    "cycle": _cycle,
    "sequence_input": _changed(_sequence_input),
    "uint8_input": _changed(_bytes_input),
    "dynamic_input": _changed(_dynamic_input),
    "dynamic_batch": _changed(_dynamic_batch),
    "foreign_domain": _changed(_foreign_domain),
    "unknown_operator": _node(make_node("LeakyReLU", ["x"], ["y"])),
    "operator_too_new": _node(make_node("HardSwish", ["x"], ["y"]), opset=11),
    "operator_too_old": _node(make_node("Add", ["x", "x"], ["y"], broadcast=1), opset=6),
    "operator_removed": _node(make_node("Upsample", ["x"], ["y"]), opset=13),
    "conv_channels": _node(make_node("Conv", ["x", "w"], ["y"]), w=random(4, 2, 3, 3)),
    "missing_operand": _node(make_node("Conv", ["x"], ["y"])),
    "extra_operand": _node(make_node("Relu", ["x", "x"], ["y"])),
    "unknown_attribute": _node(make_node("Relu", ["x"], ["y"], alpha=1.0)),
    "attribute_of_wrong_type": _node(make_node("Flatten", ["x"], ["y"], axis=1.5)),
    "attribute_missing": _node(make_node("MaxPool", ["x"], ["y"])),
    "mode_not_supported": _node(make_node("Resize", ["x", "", "s"], ["y"], mode="cubic"), s=random(4)),
    "shape_not_constant": _node(make_node("Reshape", ["x", "x"], ["y"])),
    "reshape_of_another_batch": _node(make_node("Reshape", ["x", "s"], ["y"]), s=np.array([2, 192])),
    "broadcast": _node(make_node("Add", ["x", "c"], ["y"]), c=random(3)),
    "mixed_elements": _node(make_node("Add", ["x", "c"], ["y"]), c=np.array([1], np.int64)),
    "infinite_scalar": _node(make_node("Mul", ["x", "c"], ["y"]), c=np.array(np.inf, np.float32)),
    "division_by_zero": _node(
        make_node("Div", ["a", "b"], ["y"]), a=np.array([4, 2], np.int64), b=np.array([2, 0], np.int64)
    ),
    "huge_result": _node(make_node("Expand", ["x", "s"], ["y"]), s=np.array([2**24, 3, 8, 8])),
    "many_problems": _many_problems,
}
