"""Dynamic dimensions: what --input-shape and --batch settle, and what they may not contradict."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from flexc.ir.tensor_op import spec_of
from tests.onnx_models import build, make_node, random, save

Dims = list[int | str | None]


def model_of(folder: Path, inputs: dict[str, Dims | None]) -> Path:
    """A model that flattens each of its inputs."""
    nodes = [make_node("Flatten", [name], [f"{name}_flat"]) for name in inputs]
    model = build(nodes, {}, outputs=[f"{name}_flat" for name in inputs])
    for name, dims in inputs.items():
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    return save(model, folder)


def shapes_of(
    path: Path, input_shapes: dict[str, tuple[int, ...]] | None = None, batch: int | None = None
) -> list[tuple[int, ...]]:
    graph = load_model(path, input_shapes=input_shapes, batch=batch)
    return [spec_of(argument.type).shape for argument in graph.main.body.block.args]


@pytest.mark.parametrize(
    ("inputs", "input_shapes", "batch", "expected"),
    [
        ({"x": [1, 3, 8]}, {}, None, [(1, 3, 8)]),
        ({"x": ["n", 3, 8]}, {}, 4, [(4, 3, 8)]),
        ({"x": [None, 3, 8]}, {}, 4, [(4, 3, 8)]),
        ({"x": [0, 3, -1]}, {"x": (2, 3, 8)}, None, [(2, 3, 8)]),
        ({"x": [None, 3, None, None]}, {"x": (1, 3, 48, 192)}, None, [(1, 3, 48, 192)]),
        ({"x": [None, 3, None]}, {"x": (2, 3, 4)}, 2, [(2, 3, 4)]),
        ({"x": ["n", "t"], "y": ["n", "t", 5]}, {"x": (2, 7)}, None, [(2, 7), (2, 7, 5)]),
        ({"x": ["n", 4], "y": [3, "n"]}, {}, 6, [(6, 4), (3, 6)]),
        ({"x": ["n", 4], "scale": [3, 2]}, {}, 6, [(6, 4), (3, 2)]),
        ({"x": [6, 4]}, {}, 6, [(6, 4)]),
        ({"x": None}, {"x": (2, 3)}, None, [(2, 3)]),
    ],
)
def test_settled(
    inputs: dict[str, Dims | None],
    input_shapes: dict[str, tuple[int, ...]],
    batch: int | None,
    expected: list[tuple[int, ...]],
    tmp_path: Path,
) -> None:
    assert shapes_of(model_of(tmp_path, inputs), input_shapes, batch) == expected


@pytest.mark.parametrize(
    ("inputs", "input_shapes", "batch", "message"),
    [
        ({"x": ["n", 3]}, {}, None, "FX111.*\n.*\n.*set --batch N, or --input-shape x=N,3"),
        ({"x": ["n", 3, "t"]}, {}, 2, "FX111.*\n.*\n.*set --input-shape x=N,3,N"),
        ({"x": None}, {}, 2, "FX111"),
        ({"x": ["n", 3]}, {"x": (1, 3, 1)}, None, "rank 3, but has rank 2"),
        ({"x": ["n", 3]}, {"x": (1, 4)}, None, "given 4 for dimension 1, which is 3"),
        ({"x": ["n", 3]}, {"x": (0, 3)}, None, "extents are 1 or more"),
        ({"x": ["n", 3]}, {"x": (4, 3)}, 5, "given 4 for dimension 0, and a batch of 5"),
        ({"x": ["n", "n"]}, {"x": (4, 3)}, None, "given 3 for dimension 1, which is 4"),
        (
            {"x": ["n", 3], "y": ["n", 3]},
            {"x": (4, 3), "y": (5, 3)},
            None,
            "given 5 for dimension 0, which is 4",
        ),
        ({"x": [1, 3]}, {}, 5, "a batch of 5 was asked for"),
        ({"x": ["n", 3]}, {}, 0, "the batch is 1 or more"),
        ({"image": ["n", 3]}, {"imgae": (4, 3)}, 1, "no input 'imgae'(.|\n)*did you mean 'image'"),
        ({"x": ["n", 3]}, {"weights": (4, 3)}, 1, "no input 'weights'(.|\n)*the inputs are: 'x'"),
    ],
)
def test_refused(
    inputs: dict[str, Dims | None],
    input_shapes: dict[str, tuple[int, ...]],
    batch: int | None,
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        shapes_of(model_of(tmp_path, inputs), input_shapes, batch)
    assert len(caught.value.diagnostics) == 1


def test_every_open_input_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        shapes_of(model_of(tmp_path, {"x": ["n", 3], "y": ["t", 3]}))
    assert [each.code for each in caught.value.diagnostics] == ["FX111", "FX111"]


def test_an_initializer_is_no_input(tmp_path: Path) -> None:
    """Files of IR version 3 list their weights among the inputs."""
    model = build([make_node("Add", ["x", "w"], ["y"])], {"x": random(2), "w": random(2)}, {"w": random(2)})
    graph = load_model(save(model, tmp_path))
    assert graph.input_names == ("x",)
    assert list(graph.weights) == ["w"]
