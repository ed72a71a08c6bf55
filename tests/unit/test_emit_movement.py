"""Streams of ops that only move elements give the bytes of their graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.backends.stream.timing import simulate
from flexc.target import load_target
from tests.onnx_models import build, make_node, random
from tests.stream_agreement import check_agreement
from tests.unit.test_emit_vector import integers, run


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_concat(axis: int, tmp_path: Path) -> None:
    shapes = [[2, 3, 4, 5] for _ in range(3)]
    for i, shape in enumerate(shapes):
        shape[axis] += i
    inputs = {name: random(*shape) for name, shape in zip("abc", shapes, strict=True)}
    run(tmp_path, [make_node("Concat", list("abca"), ["y"], axis=axis)], inputs)


def test_concat_of_ten_bit_and_fp32_results(tmp_path: Path) -> None:
    constants = {
        "w": random(6, 5, 3, 3),
        "w2": random(4, 11, 1, 1),
        **{name: np.abs(random(6, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    nodes = [
        make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        make_node("Concat", ["n", "x"], ["j"], axis=1),
        make_node("Conv", ["j", "w2"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(2, 5, 7, 7)}, constants)


@pytest.mark.parametrize("permutation", [[0, 2, 3, 1], [3, 2, 1, 0], [1, 0, 2, 3]])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 5)])
def test_transpose(shape: tuple[int, ...], permutation: list[int], tmp_path: Path) -> None:
    run(tmp_path, [make_node("Transpose", ["x"], ["y"], perm=permutation)], {"x": random(*shape)})


def test_channel_shuffle(tmp_path: Path) -> None:
    n, c, g, h, w = 2, 24, 3, 5, 6
    constants = {
        "w": random(c, c // g, 1, 1),
        "w2": random(c, 1, 3, 3),
        "split": np.asarray([n, g, c // g, h, w]),
        "join": np.asarray([n, c, h, w]),
    }
    nodes = [
        make_node("Conv", ["x", "w"], ["c1"], group=g),
        make_node("Reshape", ["c1", "split"], ["s"]),
        make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
        make_node("Reshape", ["t", "join"], ["j"]),
        make_node("Conv", ["j", "w2"], ["y"], group=c, pads=[1, 1, 1, 1]),
    ]
    run(tmp_path, nodes, {"x": random(n, c, h, w)}, constants)


@pytest.mark.parametrize("start", [0, 3, 4])
def test_channel_split_of_ten_bit_results(start: int, tmp_path: Path) -> None:
    constants = {
        "w": random(10, 5, 3, 3),
        "starts": np.asarray([start]),
        "ends": np.asarray([start + 5]),
        "axes": np.asarray([1]),
        **{name: np.abs(random(10, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    nodes = [
        make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        make_node("Slice", ["n", "starts", "ends", "axes"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(2, 5, 7, 7)}, constants)


@pytest.mark.parametrize(
    ("starts", "ends", "steps"),
    [
        ([1, 0, 2], [4, 3, 9], [1, 2, 3]),
        ([4, 2, 8], [0, -9, 1], [-1, -1, -2]),
        ([0, 0, 5], [5, 1, 6], [1, 1, 1]),
    ],
)
def test_slice(starts: list[int], ends: list[int], steps: list[int], tmp_path: Path) -> None:
    constants = {
        "starts": np.asarray(starts),
        "ends": np.asarray(ends),
        "axes": np.asarray([0, 1, 2]),
        "steps": np.asarray(steps),
    }
    nodes = [
        make_node("Slice", ["x", "starts", "ends", "axes", "steps"], ["s"]),
        make_node("Relu", ["s"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(5, 3, 10)}, constants)


@pytest.mark.parametrize(
    "pads", [[0, 0, 1, 2, 0, 0, 3, 1], [1, 2, 0, 0, 0, 1, 0, 0], [0, 0, -1, 2, 0, 0, 1, -2]]
)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad(mode: str, pads: list[int], tmp_path: Path) -> None:
    constants: dict[str, Any] = {"pads": np.asarray(pads)}
    names = ["x", "pads"]
    if mode == "constant":
        constants["value"] = np.asarray(1.5, np.float32)
        names.append("value")
    run(tmp_path, [make_node("Pad", names, ["y"], mode=mode)], {"x": random(2, 3, 6, 5)}, constants)


@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 4, 3, 5)])
def test_expand(shape: tuple[int, ...], tmp_path: Path) -> None:
    constants = {"shape": np.asarray(shape)}
    run(tmp_path, [make_node("Expand", ["x", "shape"], ["y"])], {"x": random(4, 1, 5)}, constants)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("index_shape", [(), (5,), (2, 3)])
def test_gather_of_constant_indices(index_shape: tuple[int, ...], axis: int, tmp_path: Path) -> None:
    constants = {"i": integers(*index_shape, low=-4, high=4)}
    run(tmp_path, [make_node("Gather", ["x", "i"], ["y"], axis=axis)], {"x": random(4, 5, 6)}, constants)


def test_embedding(tmp_path: Path) -> None:
    inputs = {"tokens": integers(2, 7, low=0, high=50)}
    constants = {"table": random(50, 24), "positions": random(7, 24), "w": random(24, 9)}
    nodes = [
        make_node("Gather", ["table", "tokens"], ["e"]),
        make_node("Add", ["e", "positions"], ["a"]),
        make_node("MatMul", ["a", "w"], ["y"]),
    ]
    run(tmp_path, nodes, inputs, constants)


def test_an_embedding_moves_a_row_for_each_token(tmp_path: Path) -> None:
    """Whatever the shape of the tokens; and the tokens once."""
    rows = {"table": random(50, 24)}
    moved = []
    for shape in ((14,), (2, 7)):
        inputs = {"tokens": integers(*shape, low=0, high=50)}
        found = run(tmp_path, [make_node("Gather", ["table", "tokens"], ["y"])], inputs, rows)
        moved.append(simulate(found.stream, load_target("flexblock")).read_bytes)
    assert moved == [14 * 24 * 4 + 14 * 8] * 2


def test_flatten_after_convolution(tmp_path: Path) -> None:
    constants = {"w": random(6, 3, 3, 3), "l": random(6 * 5 * 4, 10)}
    nodes = [
        make_node("Conv", ["x", "w"], ["c"]),
        make_node("Relu", ["c"], ["r"]),
        make_node("Flatten", ["r"], ["f"]),
        make_node("MatMul", ["f", "l"], ["y"]),
    ]
    run(tmp_path, nodes, {"x": random(2, 3, 7, 6)}, constants, outputs=("y", "f"))


def test_a_reshaped_value_is_read_from_dram(tmp_path: Path) -> None:
    """The sum reads a value of the group before it and, in another shape, what that group has stored."""
    constants = {"shape": np.asarray([6])}
    nodes = [
        make_node("Relu", ["x"], ["r"]),
        make_node("Reshape", ["r", "shape"], ["flat"]),
        make_node("Add", ["r", "flat"], ["y"]),
    ]
    found = run(tmp_path, nodes, {"x": random(1, 6)}, constants)
    assert len(found.stream.groups) == 2


def test_outputs_that_nothing_computes(tmp_path: Path) -> None:
    """An input, a reshaped input and a constant as outputs; one value under two names."""
    constants = {"c": random(3, 2), "shape": np.asarray([6, 4])}
    nodes = [
        make_node("Reshape", ["x", "shape"], ["flat"]),
        make_node("Identity", ["x"], ["same"]),
        make_node("Identity", ["c"], ["constant"]),
        make_node("Relu", ["flat"], ["y"]),
        make_node("Relu", ["flat"], ["z"]),
    ]
    run(tmp_path, nodes, {"x": random(2, 3, 4)}, constants, outputs=("flat", "same", "constant", "y", "z"))


def test_resize(tmp_path: Path) -> None:
    constants = {"scales": np.asarray([1, 1, 2, 2], np.float32), "roi": np.zeros(0, np.float32)}
    for mode in ("nearest", "linear"):
        node = make_node("Resize", ["x", "roi", "scales"], ["y"], mode=mode)
        run(tmp_path, [node], {"x": random(1, 3, 5, 4)}, constants)


def test_local_response_normalization(tmp_path: Path) -> None:
    model = build([make_node("LRN", ["x"], ["y"], size=3)], {"x": random(2, 7, 5, 5)})
    check_agreement(model, {"x": random(2, 7, 5, 5)}, tmp_path)
