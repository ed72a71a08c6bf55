"""LightNorm: the blockwise kernels against the whole-tensor reference, in every layout of memory."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexc.numerics import (
    LightNormForward,
    NonFiniteError,
    lightnorm_backward,
    lightnorm_forward,
    lightnorm_infer,
    lightnorm_infer_constants,
    lightnorm_normalize,
    lightnorm_range_constants,
)
from flexc.numerics.lightnorm_reference import (
    lightnorm_backward_reference,
    lightnorm_forward_reference,
    lightnorm_normalize_reference,
)

pytestmark = pytest.mark.usefixtures("engine")

Array = NDArray[np.float32]
LAYOUTS = ["channels_first", "channels_last", "sliced", "reversed"]
SHAPES = [
    (1, 64, 14, 14),
    (2, 6, 8, 8),
    (8, 3, 5),
    (32, 5),
    (3, 1, 4, 4),
    (2, 4, 3, 4, 2),
    (1, 4, 100, 100),
    (1, 5, 190, 190),
    (7, 6, 60, 60),
    (1, 42, 70, 70),
]
"""The last three take several blocks, with smaller ones at the ends."""


def laid_out(x: Array, layout: str) -> Array:
    """The same values in another order of memory."""
    if layout == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "sliced":
        wider = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, np.float32)
        wider[..., 1:-2] = x
        return wider[..., 1:-2]
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1])[::-1]
    return np.ascontiguousarray(x)


def activations(shape: tuple[int, ...], seed: int, spread: float = 1.0) -> Array:
    """Noise of many magnitudes with zeros, repeated values and ends of FP10A's range among it."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * 2.0 ** random.normal(0, 3 * spread, shape)
    x[random.random(shape) < 0.2] = 0
    x[random.random(shape) < 0.05] = random.choice([1.5, -1.5, 2.0**-14, -(2.0**-14) * 0.99, 7e4, -7e4])
    return x.astype(np.float32)


def vectors(channels: int, seed: int, count: int) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(channels).astype(np.float32) for _ in range(count)]


def same_bytes(found: NDArray[np.generic], expected: NDArray[np.generic]) -> bool:
    same_kind = found.shape == expected.shape and found.dtype == expected.dtype
    return same_kind and found.tobytes() == expected.tobytes()


def same_forward(found: LightNormForward, expected: LightNormForward) -> bool:
    return all(same_bytes(getattr(found, f.name), getattr(expected, f.name)) for f in fields(found))


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_match_the_reference(shape: tuple[int, ...], layout: str, rounding: str) -> None:
    x = laid_out(activations(shape, 1), layout)
    g = laid_out(activations(shape, 2, spread=4), layout)
    gamma, beta, mean = vectors(shape[1], 3, 3)
    var = np.abs(mean) + np.float32(0.01)

    mean_q, scale, gamma_q = lightnorm_infer_constants(gamma, mean, var, eps=1e-5, rounding=rounding)
    inferred = lightnorm_infer(x, gamma, beta, mean, var, eps=1e-5, rounding=rounding)
    expected = lightnorm_normalize_reference(x, mean_q, scale, gamma_q, beta, rounding=rounding)
    assert same_bytes(inferred, expected)

    forward = lightnorm_forward(x, gamma, beta, eps=1e-5, rounding=rounding)
    assert same_forward(forward, lightnorm_forward_reference(x, gamma, beta, eps=1e-5, rounding=rounding))
    found = lightnorm_backward(g, forward, rounding=rounding)
    wanted = lightnorm_backward_reference(g, forward, rounding=rounding)
    assert all(same_bytes(one, other) for one, other in zip(found, wanted, strict=True))


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(2, 6), st.integers(2, 6)),
    st.sampled_from(LAYOUTS),
    st.integers(1, 9),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_forward_and_backward_of_any_shape(
    shape: tuple[int, int, int, int], layout: str, num_chunks: int, seed: int
) -> None:
    x = laid_out(activations(shape, seed), layout)
    g = activations(shape, seed + 1)
    gamma, beta = vectors(shape[1], seed, 2)
    try:
        expected = lightnorm_forward_reference(x, gamma, beta, eps=1e-3, num_chunks=num_chunks)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            lightnorm_forward(x, gamma, beta, eps=1e-3, num_chunks=num_chunks)
        return
    found = lightnorm_forward(x, gamma, beta, eps=1e-3, num_chunks=num_chunks)
    assert same_forward(found, expected)
    for one, other in zip(lightnorm_backward(g, found), lightnorm_backward_reference(g, found), strict=True):
        assert same_bytes(one, other)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_chunk_of_several_blocks(layout: str) -> None:
    """The first of equal extrema wins across blocks, and negative extrema are ordered as well."""
    x = np.full((1, 4, 300, 400), -1.0, np.float32)
    x[0, 0, 100, 7] = x[0, 0, 200, 7] = x[0, 0, 299, 399] = 3.0
    x[0, 1, 250, 0] = x[0, 1, 260, 0] = -5.0
    x[0, 2, 299, 399] = -0.5
    x[0, 3] = 0.0
    x = laid_out(x, layout)
    gamma, beta = vectors(4, 1, 2)
    found = lightnorm_forward(x, gamma, beta, eps=1e-5, num_chunks=1)
    assert same_forward(found, lightnorm_forward_reference(x, gamma, beta, eps=1e-5, num_chunks=1))
    assert found.argmax[:, 0].tolist() == [40007, 0, 119999, 0]
    assert found.argmin[:, 0].tolist() == [0, 100000, 0, 0]


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_chunk_of_more_positions_than_a_key_holds(layout: str) -> None:
    x = np.full((1, 1, 2**19 + 9), 2.0, np.float32)
    x[0, 0, 2**19 + 3 :] = 60000.0
    x = laid_out(np.concatenate([x, -x], axis=1), layout)
    gamma, beta = vectors(2, 1, 2)
    found = lightnorm_forward(x, gamma, beta, eps=1e-5, num_chunks=1)
    assert same_forward(found, lightnorm_forward_reference(x, gamma, beta, eps=1e-5, num_chunks=1))
    assert found.argmax[:, 0].tolist() == [2**19 + 3, 0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_values_are_located_in_row_major_order(layout: str, bad: float) -> None:
    x = np.ones((2, 5, 4, 4), np.float32)
    x[1, 0, 0, 0] = bad
    x[0, 4, 3, 3] = bad
    gamma, beta, mean = vectors(5, 1, 3)
    saved = lightnorm_forward(np.ones_like(x), gamma, beta, eps=1e-5)
    x = laid_out(x, layout)
    with pytest.raises(NonFiniteError) as infer:
        lightnorm_infer(x, gamma, beta, mean, np.abs(mean), eps=1e-5)
    with pytest.raises(NonFiniteError) as forward:
        lightnorm_forward(x, gamma, beta, eps=1e-5)
    with pytest.raises(NonFiniteError) as backward:
        lightnorm_backward(x, saved)
    for error, tensor in ((infer, "x"), (forward, "x"), (backward, "g")):
        assert (error.value.tensor, error.value.index) == (tensor, (0, 4, 3, 3))


def test_overflow_on_the_way_is_located() -> None:
    x = activations((2, 8, 3, 3), 1)
    huge = np.full(8, 3e38, np.float32)
    one = np.ones(8, np.float32)
    with pytest.raises(NonFiniteError) as of_xhat:
        lightnorm_normalize(x, one, huge, one, one)
    assert of_xhat.value.tensor == "xhat"
    with pytest.raises(NonFiniteError) as of_y:
        lightnorm_normalize(x, one, one, huge, huge)
    assert of_y.value.tensor == "y"
    y = lightnorm_normalize(x, one, one, one, huge)
    assert same_bytes(y, lightnorm_normalize_reference(x, one, one, one, huge))


def test_a_divisor_that_overflows_is_located() -> None:
    # Its reciprocal would be a finite zero.
    largest = np.full(4, np.finfo(np.float32).max, np.float32)
    one = np.ones(4, np.float32)
    lightnorm_infer_constants(one, one, largest, eps=1e31)
    with pytest.raises(NonFiniteError) as of_variance:
        lightnorm_infer_constants(one, one, largest, eps=2e31)
    assert (of_variance.value.tensor, of_variance.value.index) == ("var + eps", (0,))
    with pytest.raises(NonFiniteError) as of_running_range:
        lightnorm_range_constants(one, one, largest, positions_per_chunk=2, eps=1e38)
    with pytest.raises(NonFiniteError) as of_range:
        lightnorm_forward(activations((16, 4), 1), one, one, eps=1e39)
    assert of_running_range.value.tensor == of_range.value.tensor == "range + eps"


def test_overflow_of_the_gradient_is_located() -> None:
    x = activations((2, 8, 4, 4), 1)
    gamma, beta = vectors(8, 1, 2)
    saved = lightnorm_forward(x, gamma, beta, eps=1e-5)
    steep = LightNormForward(
        **{f.name: getattr(saved, f.name) for f in fields(saved)} | {"scale": np.full(8, 5e37, np.float32)}
    )
    with pytest.raises(NonFiniteError) as of_dx:
        lightnorm_backward(x, steep)
    assert of_dx.value.tensor == "dx"


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_an_element_is_the_same_in_any_tensor(layout: str) -> None:
    x = activations((2, 12, 90, 91), 5)
    gamma, beta, mean = vectors(12, 6, 3)
    var = np.abs(mean) + np.float32(0.1)
    whole = lightnorm_infer(laid_out(x, layout), gamma, beta, mean, var, eps=1e-5)
    part = lightnorm_infer(x[1:, 4:8, 80:, 7::9], gamma[4:8], beta[4:8], mean[4:8], var[4:8], eps=1e-5)
    assert same_bytes(part, np.ascontiguousarray(whole[1:, 4:8, 80:, 7::9]))


def test_results_lie_in_memory_as_their_argument_does() -> None:
    gamma, beta, mean = vectors(6, 1, 3)
    for layout in LAYOUTS[:2]:
        x = laid_out(activations((2, 6, 4, 4), 1), layout)
        forward = lightnorm_forward(x, gamma, beta, eps=1e-5)
        y = lightnorm_infer(x, gamma, beta, mean, np.abs(mean), eps=1e-5)
        dx, _, _ = lightnorm_backward(x, forward)
        assert x.strides == y.strides == dx.strides == forward.y.strides == forward.xhat.strides


def test_empty_tensors() -> None:
    gamma, beta, mean = vectors(3, 1, 3)
    x = np.zeros((0, 3, 2), np.float32)
    assert lightnorm_infer(x, gamma, beta, mean, np.abs(mean), eps=1e-5).shape == x.shape
    with pytest.raises(ValueError, match="0 positions"):
        lightnorm_forward(x, gamma, beta, eps=1e-5)


def test_shapes_that_do_not_belong_together() -> None:
    gamma, beta, mean = vectors(3, 1, 3)
    x = activations((2, 4, 8), 1)
    with pytest.raises(ValueError, match="gamma has shape"):
        lightnorm_forward(x, gamma, beta, eps=1e-5)
    with pytest.raises(ValueError, match=r"takes \[N, C"):
        lightnorm_infer(gamma, gamma, beta, mean, np.abs(mean), eps=1e-5)
    saved = lightnorm_forward(activations((2, 3, 8), 1), gamma, beta, eps=1e-5)
    with pytest.raises(ValueError, match="gradient of shape"):
        lightnorm_backward(x, saved)
    with pytest.raises(ValueError, match="stochastic"):
        lightnorm_forward(x[:, :3], gamma, beta, eps=1e-5, rounding="stochastic")
