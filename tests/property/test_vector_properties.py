"""Properties of the vector kernels over arbitrary shapes, values and strides."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from flexc.numerics import (
    average_pool,
    erf,
    exp,
    lane_sum,
    log,
    max_pool,
    power,
    reduce_max,
    reduce_sum,
    sigmoid,
    softmax,
    strided_slice,
    tanh,
)

Float32Array = NDArray[np.float32]
Function = Callable[[Float32Array], Float32Array]

few_examples = settings(max_examples=40, deadline=None)
any_float = st.floats(width=32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def same_bits(a: Float32Array, b: Float32Array) -> bool:
    """Equal but for NaN, whose payload is open."""
    return a.shape == b.shape and bool(
        ((a.view(np.int32) == b.view(np.int32)) | (np.isnan(a) & np.isnan(b))).all()
    )


def restrided(x: Float32Array, order: list[int], step: int, flip: bool) -> Float32Array:
    """x with the same values in other memory: axes permuted, gaps between elements, run backwards."""
    spread = np.repeat(x.transpose(order), step, axis=-1)[..., ::step]
    if flip:
        spread = spread[..., ::-1].copy()[..., ::-1]
    return spread.transpose(np.argsort(order))


@st.composite
def with_other_strides(
    draw: st.DrawFn, elements: st.SearchStrategy[float]
) -> tuple[Float32Array, Float32Array]:
    x = draw(arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=12), elements=elements))
    order = draw(st.permutations(range(x.ndim)))
    return x, restrided(x, order, draw(st.integers(1, 3)), draw(st.booleans()))


@pytest.mark.parametrize("function", [exp, log, tanh, erf, sigmoid])
@few_examples
@given(with_other_strides(any_float))
def test_functions_see_values_only(function: Function, pair: tuple[Float32Array, Float32Array]) -> None:
    x, other = pair
    y = function(x)
    assert same_bits(np.ascontiguousarray(function(other)), y)
    assert same_bits(function(x.reshape(-1)[::-1])[::-1].reshape(x.shape).copy(), y)


@pytest.mark.parametrize("function", [tanh, erf])
@few_examples
@given(arrays(np.float32, 20, elements=finite))
def test_odd_functions_are_odd_to_the_bit(function: Function, x: Float32Array) -> None:
    assert same_bits(function(-x), -function(x))


@few_examples
@given(arrays(np.float32, 20, elements=finite))
def test_ranges(x: Float32Array) -> None:
    assert (np.abs(tanh(x)) <= 1).all()
    assert (np.abs(erf(x)) <= 1).all()
    assert ((sigmoid(x) >= 0) & (sigmoid(x) <= 1)).all()
    assert (exp(x) >= 0).all()


@few_examples
@given(arrays(np.float32, 20, elements=any_float), arrays(np.float32, 20, elements=any_float))
def test_power_of_each_pair_alone(x: Float32Array, y: Float32Array) -> None:
    together = power(x, y)
    alone = np.array([power(x[i : i + 1], y[i : i + 1])[0] for i in range(x.size)])
    assert same_bits(together, alone)


@few_examples
@given(with_other_strides(any_float), st.data())
def test_reductions_see_values_only(pair: tuple[Float32Array, Float32Array], data: st.DataObject) -> None:
    x, other = pair
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, unique=True))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = x.transpose(kept + sorted(axes)).reshape([x.shape[axis] for axis in kept] + [-1])
    assert same_bits(reduce_sum(other, axes=axes), lane_sum(rows))
    assert same_bits(reduce_max(other, axes=axes), reduce_max(rows, axes=(-1,)))
    assert same_bits(np.ascontiguousarray(softmax(other, axis=axes[0])), softmax(x, axis=axes[0]))


@st.composite
def pool_arguments(draw: st.DrawFn) -> tuple[Float32Array, dict[str, tuple[int, ...]]]:
    rank = draw(st.integers(1, 2))
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), *[st.integers(5, 9)] * rank))
    window = {
        name: tuple(draw(st.integers(1, most)) for _ in range(rank))
        for name, most in (("kernel", 3), ("stride", 3), ("dilation", 2))
    }
    signed_zeros = st.sampled_from([0.0, -0.0, 1.0, -1.0])
    return draw(arrays(np.float32, shape, elements=st.one_of(finite, signed_zeros))), window


@few_examples
@given(pool_arguments())
def test_pools_over_unpadded_windows(arguments: tuple[Float32Array, dict[str, tuple[int, ...]]]) -> None:
    x, window = arguments
    rank = len(window["kernel"])
    extents = tuple(d * (k - 1) + 1 for d, k in zip(window["dilation"], window["kernel"], strict=True))
    views = np.lib.stride_tricks.sliding_window_view(x, extents, axis=tuple(range(2, 2 + rank)))
    strided = [slice(None, None, stride) for stride in window["stride"]]
    dilated = [slice(None, None, dilation) for dilation in window["dilation"]]
    views = views[(slice(None), slice(None), *strided, *dilated)]
    flat = views.reshape(*views.shape[: 2 + rank], -1)
    # argmax names the first of equal maxima, zeros of either sign being equal.
    best = np.take_along_axis(flat, flat.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    assert same_bits(
        np.ascontiguousarray(
            max_pool(x, kernel=window["kernel"], stride=window["stride"], dilation=window["dilation"])
        ),
        best,
    )
    total = np.zeros_like(best)
    with np.errstate(all="ignore"):
        for tap in range(flat.shape[-1]):
            total = total + flat[..., tap]
        expected = total / np.float32(flat.shape[-1])
    assert same_bits(
        np.ascontiguousarray(
            average_pool(x, kernel=window["kernel"], stride=window["stride"], dilation=window["dilation"])
        ),
        expected,
    )


@few_examples
@given(st.data())
def test_slices_are_numpy_slices(data: st.DataObject) -> None:
    x = np.arange(84).reshape(7, 12)
    slices = [data.draw(st.slices(extent)) for extent in x.shape]
    ranges = [range(extent)[one] for one, extent in zip(slices, x.shape, strict=True)]
    y = strided_slice(
        x, starts=[r.start for r in ranges], sizes=[len(r) for r in ranges], steps=[r.step for r in ranges]
    )
    assert (y == x[tuple(slices)]).all()
    assert y.shape == x[tuple(slices)].shape
