"""Shape rules against the kernels: what a rule accepts has the kernel's shape, what it refuses has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexc import numerics
from flexc.ir import shapes, window_shapes
from flexc.ir.shapes import ShapeError, TensorSpec

EXTENTS = st.integers(1, 5)
SHAPES = st.lists(EXTENTS, max_size=4).map(tuple)


def zeros(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(shape, np.float32)


@given(st.lists(st.lists(st.sampled_from([1, 2, 3]), max_size=4).map(tuple), min_size=1, max_size=3))
def test_broadcast_is_numpys(operands: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*operands)
    except ValueError:
        with pytest.raises(ShapeError):
            shapes.broadcast(*operands)
        return
    assert shapes.broadcast(*operands) == expected


@given(st.data())
def test_windows_are_those_of_the_kernels(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))

    def draw(low: int, high: int, count: int = rank) -> tuple[int, ...]:
        return tuple(data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    size, kernel, stride, dilation = draw(1, 9), draw(1, 4), draw(1, 3), draw(1, 3)
    pads, ceil_mode = draw(0, 3, 2 * rank), data.draw(st.booleans())
    attributes: dict[str, Any] = {"stride": stride, "pads": pads, "dilation": dilation}
    pooled = attributes | {"kernel": kernel, "ceil_mode": ceil_mode}
    x = TensorSpec((2, 3, *size))
    try:
        found = window_shapes.max_pool(x, **pooled)
    except ShapeError:
        covered = [(taps - 1) * spread + 1 for taps, spread in zip(kernel, dilation, strict=True)]
        too_small = any(
            size[dim] + pads[dim] + pads[dim + rank] < covered[dim]
            or max(pads[dim], pads[dim + rank]) >= covered[dim]
            for dim in range(rank)
        )
        assert too_small
        return
    assert numerics.max_pool(zeros(x.shape), **pooled).shape == found.shape
    if not ceil_mode:
        w = TensorSpec((4, 3, *kernel))
        assert window_shapes.conv(x, w, group=1, **attributes).shape == (2, 4, *found.shape[2:])
        y = numerics.conv(zeros(x.shape), zeros(w.shape), group=1, **attributes)
        assert y.shape == (2, 4, *found.shape[2:])


@given(
    st.lists(EXTENTS, min_size=1, max_size=4).map(tuple), st.lists(EXTENTS, min_size=1, max_size=4).map(tuple)
)
def test_matmul_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        found = shapes.matmul(TensorSpec(a), TensorSpec(b)).shape
    except ShapeError:
        if len(a) > 1 and len(b) > 1:
            with pytest.raises(ValueError, match=r"."):
                np.matmul(zeros(a), zeros(b))
        return
    assert np.matmul(zeros(a), zeros(b)).shape == found


@given(SHAPES.filter(bool), st.data())
def test_slice(shape: tuple[int, ...], data: st.DataObject) -> None:
    rank = len(shape)
    entries = st.lists(st.integers(-2, 6), min_size=rank, max_size=rank).map(tuple)
    attributes: dict[str, Any] = {name: data.draw(entries) for name in ("starts", "sizes", "steps")}
    try:
        found = shapes.strided_slice(TensorSpec(shape), **attributes).shape
    except ShapeError:
        if min(attributes["sizes"]) >= 0 and 0 not in attributes["steps"]:
            with pytest.raises(IndexError):
                numerics.strided_slice(zeros(shape), **attributes)
        return
    assert numerics.strided_slice(zeros(shape), **attributes).shape == found


@given(SHAPES.filter(bool), st.data(), st.sampled_from(["constant", "edge", "reflect"]))
def test_pad(shape: tuple[int, ...], data: st.DataObject, mode: Any) -> None:
    count = 2 * len(shape)
    pads = tuple(data.draw(st.lists(st.integers(-2, 4), min_size=count, max_size=count)))
    try:
        found = shapes.pad(TensorSpec(shape), pads=pads, mode=mode, value=0.0).shape
    except ShapeError:
        return
    assert numerics.pad(zeros(shape), pads=pads, mode=mode, value=0.0).shape == found


@given(SHAPES, st.lists(st.integers(-5, 4), max_size=3), st.booleans())
def test_reduction(shape: tuple[int, ...], axes: list[int], keepdims: bool) -> None:
    x = TensorSpec(shape)
    try:
        found = shapes.reduction(x, axes=axes, keepdims=keepdims).shape
    except ShapeError:
        with pytest.raises(ValueError, match=r"."):
            np.sum(zeros(shape), axis=tuple(axes))
        return
    assert numerics.reduce_sum(zeros(shape), axes=axes, keepdims=keepdims).shape == found


@given(SHAPES.filter(bool), SHAPES, st.integers(-4, 3))
def test_gather(shape: tuple[int, ...], indices: tuple[int, ...], axis: int) -> None:
    spec = TensorSpec(indices, "i64")
    if not -len(shape) <= axis < len(shape):
        with pytest.raises(ShapeError):
            shapes.gather(TensorSpec(shape), spec, axis=axis)
        return
    found = shapes.gather(TensorSpec(shape), spec, axis=axis).shape
    assert numerics.gather(zeros(shape), np.zeros(indices, np.int64), axis=axis).shape == found


@given(st.lists(SHAPES.filter(bool), min_size=1, max_size=3), st.integers(-4, 3))
def test_concat_is_numpys(operands: list[tuple[int, ...]], axis: int) -> None:
    try:
        found = shapes.concat(*(TensorSpec(shape) for shape in operands), axis=axis).shape
    except ShapeError:
        with pytest.raises(ValueError, match=r"."):
            np.concatenate([zeros(shape) for shape in operands], axis=axis)
        return
    assert np.concatenate([zeros(shape) for shape in operands], axis=axis).shape == found
