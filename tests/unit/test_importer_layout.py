"""Operators that move elements, and shape arithmetic, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.onnx_models import Array, assert_matches, build, make_node, op_names, random, save

X = random(2, 3, 4, 5)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def check(
    node: onnx.NodeProto,
    constants: dict[str, Array],
    opset: int,
    tmp_path: Path,
    outputs: tuple[str, ...] = ("y",),
) -> list[str]:
    model = build([node], {"x": X}, constants, opset=opset, outputs=outputs)
    return op_names(assert_matches(model, {"x": X}, tmp_path, tolerance=0))


@pytest.mark.parametrize("shape", [(6, 20), (0, -1), (2, 0, -1), (-1,), (120,), (2, 3, 4, 5)])
@pytest.mark.parametrize("opset", [9, 14, 21])
def test_reshape(shape: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    names = check(make_node("Reshape", ["x", "shape"], ["y"]), {"shape": ints(*shape)}, opset, tmp_path)
    assert names == ([] if shape == X.shape else ["nn.reshape"])


@pytest.mark.parametrize(
    ("shape", "attributes", "message"),
    [
        ((7, -1), {}, "120 elements do not fill"),
        ((-1, -1), {}, "more than one dimension open"),
        ((7, 7), {}, r"the new shape \[7, 7\] has 49"),
        ((2, -2), {}, "has -2 for dimension 1"),
        ((2, 3, 4, 5, 0), {}, "has 0 for dimension 4"),
        ((0, 120), {"allowzero": 1}, r"the new shape \[0, 120\] has 0"),
    ],
)
def test_reshape_that_does_not_fit(
    shape: tuple[int, ...], attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    node = make_node("Reshape", ["x", "shape"], ["y"], **attributes)
    with pytest.raises(CompileError, match=message):
        load_model(save(build([node], {"x": X}, {"shape": ints(*shape)}), tmp_path))


@pytest.mark.parametrize("axis", [0, 1, 2, 4, -1, -4])
def test_flatten(axis: int, tmp_path: Path) -> None:
    check(make_node("Flatten", ["x"], ["y"], axis=axis), {}, 13, tmp_path)


@pytest.mark.parametrize("permutation", [None, (0, 2, 3, 1), (3, 2, 1, 0)])
def test_transpose(permutation: tuple[int, ...] | None, tmp_path: Path) -> None:
    attributes = {} if permutation is None else {"perm": permutation}
    check(make_node("Transpose", ["x"], ["y"], **attributes), {}, 13, tmp_path)


@pytest.mark.parametrize(
    ("axes", "opset"),
    [(axes, opset) for axes in ((0,), (1, 3), None) for opset in (9, 13)] + [((-1,), 11), ((-1,), 13)],
)
def test_squeeze_and_unsqueeze(axes: tuple[int, ...] | None, opset: int, tmp_path: Path) -> None:
    by_attribute = opset < 13
    given: dict[str, Any] = {} if axes is None or not by_attribute else {"axes": axes}
    operand = [] if axes is None or by_attribute else ["axes"]
    constants = {} if axes is None else {"axes": ints(*axes)}
    if axes is None:
        nodes = [make_node("Squeeze", ["x"], ["y"])]
        x = X[:1, :, :1]
    else:
        nodes = [
            make_node("Unsqueeze", ["x", *operand], ["wide"], **given),
            make_node("Squeeze", ["wide", *operand], ["y"], **given),
        ]
        x = X
    model = build(nodes, {"x": x}, constants, opset=opset)
    assert_matches(model, {"x": x}, tmp_path, tolerance=0)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 1, 1, 1, 5), (1,)])
def test_expand(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = X[:, :, :1, :1] if shape[0] != 7 else X[:1, :1, :1]
    model = build([make_node("Expand", ["x", "shape"], ["y"])], {"x": x}, {"shape": ints(*shape)}, opset=13)
    assert_matches(model, {"x": x}, tmp_path, tolerance=0)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis: int, tmp_path: Path) -> None:
    check(make_node("Concat", ["x", "x", "c"], ["y"], axis=axis), {"c": X[:, :, :, :]}, 13, tmp_path)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), (2,), None),
        ((0, 1), (2, 2**31), None, None),
        ((-3, -2), (-1, 2**63 - 1), (3, 2), None),
        ((-1,), (-(2**63),), (3,), (-1,)),
        ((4,), (0,), (3,), (-2,)),
        ((0,), (100,), (3,), (2,)),
        ((-100,), (100,), (1,), (1,)),
        ((3,), (1,), (2,), None),
        ((-100,), (-100,), (3,), (-1,)),
        ((100,), (1,), (3,), (-2,)),
    ],
)
@pytest.mark.parametrize("opset", [10, 13])
def test_slice(
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...] | None,
    steps: tuple[int, ...] | None,
    opset: int,
    tmp_path: Path,
) -> None:
    constants = {"starts": ints(*starts), "ends": ints(*ends)}
    if axes is not None:
        constants["axes"] = ints(*axes)
    if steps is not None:
        constants["steps"] = ints(*steps)
    check(make_node("Slice", ["x", *constants], ["y"]), constants, opset, tmp_path)


@pytest.mark.parametrize(
    ("starts", "ends", "axes"),
    [((1,), (3,), (2,)), ((0, 1), (2, 2**31), None), ((-3, -2), (-1, 2**63 - 1), (3, 2)), ((3,), (1,), (2,))],
)
def test_slice_by_attributes(
    starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] | None, tmp_path: Path
) -> None:
    attributes = {"starts": starts, "ends": ends, **({} if axes is None else {"axes": axes})}
    check(make_node("Slice", ["x"], ["y"], **attributes), {}, 9, tmp_path)


@pytest.mark.parametrize(
    ("opset", "form"), [(9, "attribute"), (13, "operand"), (18, "operand"), (18, "count")]
)
def test_split(opset: int, form: str, tmp_path: Path) -> None:
    constants = {"sizes": ints(2, 2, 1)} if form == "operand" else {}
    attributes: dict[str, Any] = {"axis": 3}
    if form == "attribute":
        attributes["split"] = [2, 2, 1]
    elif form == "count":
        attributes["num_outputs"] = 3
    node = make_node("Split", ["x", *constants], ["a", "b", "c"], **attributes)
    check(node, constants, opset, tmp_path, ("a", "b", "c"))


def test_split_in_equal_parts(tmp_path: Path) -> None:
    check(make_node("Split", ["x"], ["a", "b"], axis=-2), {}, 11, tmp_path, ("a", "b"))
    node = make_node("Split", ["x"], ["a", "b"], axis=3)
    with pytest.raises(CompileError, match="dimension 3 of extent 5 in 2 equal parts"):
        load_model(save(build([node], {"x": X}, opset=13, outputs=("a", "b")), tmp_path))


@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize("indices", [np.array(1), np.array([0, -1]), np.array([[1, 0], [0, 1]])])
def test_gather(axis: int, indices: Array, tmp_path: Path) -> None:
    node = make_node("Gather", ["x", "i"], ["y"], axis=axis)
    check(node, {"i": indices.astype(np.int64)}, 13, tmp_path)


def test_gather_by_an_input(tmp_path: Path) -> None:
    inputs = {"i": np.array([[3, 1, -1]], np.int64)}
    model = build([make_node("Gather", ["table", "i"], ["y"])], inputs, {"table": random(6, 4)})
    assert_matches(model, inputs, tmp_path, tolerance=0)


def test_gather_out_of_range(tmp_path: Path) -> None:
    model = build([make_node("Gather", ["x", "i"], ["y"])], {"x": X}, {"i": ints(0, 2)})
    with pytest.raises(CompileError, match="index 2 into dimension 0 of extent 2"):
        load_model(save(model, tmp_path))


@pytest.mark.parametrize(
    ("mode", "pads"),
    [(mode, (0, 0, 1, 2, 0, 0, 2, 1)) for mode in ("constant", "reflect", "edge")]
    + [("constant", (0, 0, -1, 1, 0, 0, 1, -1))],
)
@pytest.mark.parametrize("opset", [9, 11, 18])
def test_pad(mode: str, pads: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    if opset < 11:
        attributes = {"pads": pads, "mode": mode, "value": 1.5}
        check(make_node("Pad", ["x"], ["y"], **attributes), {}, opset, tmp_path)
        return
    constants = {"pads": ints(*pads), "value": np.array(1.5, np.float32)}
    check(make_node("Pad", ["x", "pads", "value"], ["y"], mode=mode), constants, opset, tmp_path)


def test_pad_along_axes(tmp_path: Path) -> None:
    constants = {"pads": ints(1, 0, 2, 1), "axes": ints(-1, 1)}
    check(make_node("Pad", ["x", "pads", "", "axes"], ["y"]), constants, 18, tmp_path)


def test_shape_arithmetic_folds_away(tmp_path: Path) -> None:
    """What exporters write to flatten: Shape, Slice or Gather, Concat, Reshape, with casts and products."""
    nodes = [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "zero"], ["batch"]),
        make_node("Unsqueeze", ["batch", "axis"], ["batch1"]),
        make_node("Slice", ["shape", "one", "four"], ["rest"]),
        make_node("ReduceProd", ["rest"], ["flat"], keepdims=1),
        make_node("Cast", ["flat"], ["flat_f"], to=TensorProto.FLOAT),
        make_node("Div", ["flat_f", "two"], ["half_f"]),
        make_node("Floor", ["half_f"], ["half_floor"]),
        make_node("Cast", ["half_floor"], ["half"], to=TensorProto.INT64),
        make_node("Concat", ["batch1", "half", "minus"], ["new"], axis=0),
        make_node("Reshape", ["x", "new"], ["y"]),
    ]
    constants = {
        "zero": np.array(0, np.int64),
        "axis": ints(0),
        "one": ints(1),
        "four": ints(4),
        "two": np.array(2, np.float32),
        "minus": ints(-1),
    }
    graph = assert_matches(build(nodes, {"x": X}, constants, opset=13), {"x": X}, tmp_path, tolerance=0)
    assert op_names(graph) == ["nn.reshape"]
    assert list(graph.weights) == []


@pytest.mark.parametrize(
    ("operator", "operands", "expected"),
    [
        ("Add", (ints(7, -7), ints(2)), [9, -5]),
        ("Div", (ints(7, -7), ints(2)), [3, -3]),
        ("Mod", (ints(7, -7), ints(3)), [1, 2]),
        ("Mul", (ints(2**31, 3), ints(2)), [2**32, 6]),
        ("Max", (ints(1, 5), ints(3)), [3, 5]),
        ("Pow", (ints(3, 2), ints(2)), [9, 4]),
        ("Range", (np.array(5), np.array(-1), np.array(-2)), [5, 3, 1]),
        ("Neg", (ints(3, -4),), [-3, 4]),
        ("ConstantOfShape", (ints(2),), [0, 0]),
        ("Expand", (ints(3), ints(2)), [3, 3]),
        ("Where", (np.array([True, False]), ints(1, 2), ints(3, 4)), [1, 4]),
        ("NonZero", (ints(0, 4, 0, 2),), [[1, 3]]),
        ("Tile", (ints(1, 2), ints(2)), [1, 2, 1, 2]),
        ("Size", (ints(1, 2, 3),), 3),
    ],
)
def test_arithmetic_of_constants(
    operator: str, operands: tuple[Array, ...], expected: list[Any], tmp_path: Path
) -> None:
    constants = {f"c{index}": operand for index, operand in enumerate(operands)}
    model = build([make_node(operator, list(constants), ["y"])], {}, constants, opset=16)
    graph = assert_matches(model, {}, tmp_path, tolerance=0)
    assert op_names(graph) == []
    np.testing.assert_array_equal(graph.weights.get("y"), expected)


@pytest.mark.parametrize(
    "attributes",
    [
        {"value": numpy_helper.from_array(random(2, 3))},
        {"value_float": 1.5},
        {"value_floats": [1.5, 2.0]},
        {"value_int": 3},
        {"value_ints": [3, 4]},
    ],
)
def test_constant_nodes(attributes: dict[str, Any], tmp_path: Path) -> None:
    model = build([make_node("Constant", [], ["y"], **attributes)], {}, opset=13)
    assert_matches(model, {}, tmp_path, tolerance=0)


def test_division_of_constants_by_zero(tmp_path: Path) -> None:
    model = build([make_node("Div", ["a", "b"], ["y"])], {}, {"a": ints(4), "b": ints(0)})
    with pytest.raises(CompileError, match="FX208"):
        load_model(save(model, tmp_path))


def test_a_large_constant_of_shape_takes_no_memory(tmp_path: Path) -> None:
    model = build([make_node("ConstantOfShape", ["s"], ["y"])], {}, {"s": ints(2**30)})
    stored = load_model(save(model, tmp_path)).weights.get("y")
    assert stored.shape == (2**30,)
    assert stored.strides == (0,)
