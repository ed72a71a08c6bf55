"""Gradient kernels against their text, their adjoints and finite differences."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc import numerics

Array = NDArray[np.float32]


def random(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def channels_last(x: Array) -> Array:
    """The same values with another order in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 7, 6), (5, 4, 3, 3), {"stride": (1, 1), "pads": (1, 1, 1, 1), "dilation": (1, 1), "group": 1}),
    ((2, 4, 8, 7), (6, 2, 3, 2), {"stride": (2, 3), "pads": (1, 0, 2, 1), "dilation": (1, 2), "group": 2}),
    ((3, 4, 9, 9), (4, 1, 3, 3), {"stride": (2, 2), "pads": (1, 1, 1, 1), "dilation": (1, 1), "group": 4}),
    ((2, 3, 9, 5), (6, 1, 3, 1), {"stride": (1, 1), "pads": (0, 0, 0, 0), "dilation": (2, 1), "group": 3}),
    ((2, 3, 11), (4, 3, 4), {"stride": (3,), "pads": (2, 0), "dilation": (1,), "group": 1}),
    (
        (1, 2, 4, 5, 3),
        (3, 2, 2, 2, 2),
        {"stride": (1, 2, 1), "pads": (1,) * 6, "dilation": (1,) * 3, "group": 1},
    ),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "attributes"), CONVS)
def test_conv_gradients_are_adjoint(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    x, w = random(1, *x_shape), random(2, *w_shape)
    g = random(3, *numerics.conv(x, w, **attributes).shape)
    dx = numerics.conv_local_grad(channels_last(g), w, x_shape=x_shape, **attributes)
    dw = numerics.conv_weight_grad(g, channels_last(x), w_shape=w_shape, **attributes)
    assert dx.shape == x_shape
    assert dw.shape == w_shape
    for seed in range(4):
        other_x, other_w = random(seed + 10, *x_shape), random(seed + 20, *w_shape)
        along_x = np.vdot(numerics.conv(other_x, w, **attributes), g)
        along_w = np.vdot(numerics.conv(x, other_w, **attributes), g)
        np.testing.assert_allclose(np.vdot(dx, other_x), along_x, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.vdot(dw, other_w), along_w, rtol=1e-4, atol=1e-4)


def test_conv_gradients_of_many_blocks() -> None:
    attributes: dict[str, Any] = {"stride": (1, 1), "pads": (1, 1, 1, 1), "dilation": (1, 1), "group": 1}
    x, w = random(1, 3, 8, 60, 60), random(2, 16, 8, 3, 3)
    g = random(3, 3, 16, 60, 60)
    dx = numerics.conv_local_grad(g, w, x_shape=x.shape, **attributes)
    dw = numerics.conv_weight_grad(g, x, w_shape=w.shape, **attributes)
    flipped = np.ascontiguousarray(np.flip(w, (2, 3)).transpose(1, 0, 2, 3))
    np.testing.assert_allclose(dx, numerics.conv(g, flipped, **attributes), atol=1e-4)
    swapped = numerics.conv(x.transpose(1, 0, 2, 3), g.transpose(1, 0, 2, 3), **attributes)
    np.testing.assert_allclose(dw, swapped.transpose(1, 0, 2, 3), atol=2e-3)


def test_conv_gradients_refuse_another_shape() -> None:
    _, w_shape, attributes = CONVS[0]
    with pytest.raises(ValueError, match="gradient of shape"):
        numerics.conv_local_grad(
            random(1, 2, 5, 7, 7), random(2, *w_shape), x_shape=(2, 4, 7, 6), **attributes
        )
    with pytest.raises(TypeError, match="float32"):
        numerics.conv_weight_grad(
            np.zeros((2, 5, 7, 6)),  # type: ignore[arg-type]
            random(1, 2, 4, 7, 6),
            w_shape=w_shape,
            **attributes,
        )


POOLS: list[dict[str, Any]] = [
    {"kernel": (2, 2), "stride": (2, 2), "pads": (0, 0, 0, 0), "dilation": (1, 1), "ceil_mode": False},
    {"kernel": (3, 3), "stride": (2, 2), "pads": (1, 1, 1, 1), "dilation": (1, 1), "ceil_mode": False},
    {"kernel": (3, 2), "stride": (1, 2), "pads": (0, 1, 1, 0), "dilation": (2, 1), "ceil_mode": True},
    {"kernel": (2, 3), "stride": (3, 3), "pads": (0, 0, 0, 0), "dilation": (1, 1), "ceil_mode": True},
]


def windows_of(y_shape: tuple[int, ...], attributes: dict[str, Any], size: tuple[int, ...]) -> Any:
    """(output position, positions of x in row-major order of the taps), in row-major order."""
    for out in np.ndindex(y_shape):
        found = []
        for tap in product(*map(range, attributes["kernel"])):
            at = tuple(
                o * s + t * d - p
                for o, s, t, d, p in zip(
                    out, attributes["stride"], tap, attributes["dilation"], attributes["pads"], strict=False
                )
            )
            if all(0 <= one < extent for one, extent in zip(at, size, strict=True)):
                found.append(at)
        yield out, found


@pytest.mark.parametrize("attributes", POOLS)
def test_max_pool_grad_by_the_text(attributes: dict[str, Any]) -> None:
    # Few values: ties, and maxima that several windows share.
    x = np.random.default_rng(4).integers(-2, 3, (3, 2, 9, 8)).astype(np.float32)
    x[x == 0] = -0.0
    g = random(5, *numerics.max_pool(x, **attributes).shape) * np.float32(1000.0) ** random(6, 1)
    expected = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        for out, positions in windows_of(g.shape[2:], attributes, x.shape[2:]):
            best = max(positions, key=lambda at: x[(n, c, *at)])
            expected[(n, c, *best)] += g[(n, c, *out)]
    found = numerics.max_pool_grad(channels_last(g), channels_last(x), **attributes)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("attributes", POOLS)
def test_average_pool_grad_by_the_text(attributes: dict[str, Any], include: bool) -> None:
    x_shape = (2, 3, 9, 8)
    ones = np.ones(x_shape, np.float32)
    share_of_one = numerics.average_pool(ones, **attributes, count_include_pad=include)
    g = random(7, *share_of_one.shape)
    expected = np.zeros(x_shape, np.float32)
    for n, c in np.ndindex(x_shape[:2]):
        for out, positions in windows_of(g.shape[2:], attributes, x_shape[2:]):
            count = np.float32(np.rint(len(positions) / share_of_one[(n, c, *out)]))
            for at in positions:
                expected[(n, c, *at)] += g[(n, c, *out)] / count
    found = numerics.average_pool_grad(g, x_shape=x_shape, **attributes, count_include_pad=include)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_pools_meet_their_windows_in_one_order_however_large_the_batch() -> None:
    attributes: dict[str, Any] = {"kernel": (3, 3), "stride": (1, 1), "pads": (1, 1, 1, 1)}
    x = np.random.default_rng(8).integers(0, 3, (5, 4, 150, 150)).astype(np.float32)
    g = random(9, *x.shape)
    together = numerics.max_pool_grad(g, x, **attributes)
    averages = numerics.average_pool_grad(g, x_shape=x.shape, **attributes)
    for n in range(len(x)):
        alone = numerics.max_pool_grad(g[n : n + 1], x[n : n + 1], **attributes)
        np.testing.assert_array_equal(together[n : n + 1], alone)
        alone = numerics.average_pool_grad(g[n : n + 1], x_shape=(1, *x.shape[1:]), **attributes)
        np.testing.assert_array_equal(averages[n : n + 1], alone)


@pytest.mark.parametrize(("axes", "keepdims"), [((1,), True), ((0, 2), False), ((0, 1, 2), False)])
def test_reduce_max_grad_goes_to_the_first_maximum(axes: tuple[int, ...], keepdims: bool) -> None:
    x = np.random.default_rng(1).integers(0, 3, (3, 4, 5)).astype(np.float32)
    maxima = numerics.reduce_max(x, axes=axes, keepdims=True)
    g = random(2, *maxima.shape)
    flat = np.arange(x.size).reshape(x.shape)
    first = np.where(x == maxima, flat, x.size).min(axis=axes, keepdims=True)
    expected = np.where(flat == first, g, np.float32(0))
    given = g if keepdims else g.reshape([s for axis, s in enumerate(g.shape) if axis not in axes])
    np.testing.assert_array_equal(numerics.reduce_max_grad(given, x, axes=axes, keepdims=keepdims), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_grad_adds_in_the_order_of_the_indices(axis: int) -> None:
    x_shape = (4, 5, 3)
    indices = np.array([[2, 0, -1], [2, 2, 1]])
    spread = np.float32(10.0) ** np.random.default_rng(3).integers(-6, 7, 90).astype(np.float32)
    shape = numerics.gather(np.zeros(x_shape, np.float32), indices, axis=axis).shape
    g = random(4, *shape) * np.resize(spread, shape)
    expected = np.zeros(x_shape, np.float32)
    along = axis % 3
    for at in np.ndindex(shape):
        index = int(indices[at[along : along + 2]]) % x_shape[along]
        expected[(*at[:along], index, *at[along + 2 :])] += g[at]
    found = numerics.gather_grad(g, indices, x_shape=x_shape, axis=axis)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_gather_grad_refuses_an_index_out_of_range() -> None:
    with pytest.raises(IndexError):
        numerics.gather_grad(random(1, 1, 2), np.array([3]), x_shape=(3, 2), axis=0)


def test_batch_norm_grad_by_finite_differences() -> None:
    rng = np.random.default_rng(6)
    x, g = rng.standard_normal((2, 4, 3, 5, 2)) * 2 + 1
    gamma, beta = rng.standard_normal((2, 3))

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        mean = x.mean((0, 2, 3), keepdims=True)
        scale = 1 / np.sqrt(((x - mean) ** 2).mean((0, 2, 3), keepdims=True) + 1e-3)
        return (x - mean) * scale * gamma[:, None, None] + beta[:, None, None]

    values = [x, gamma, beta]
    fp32 = [value.astype(np.float32) for value in values]
    y, mean, _, scale = numerics.batch_norm_train(fp32[0], fp32[1], fp32[2], eps=1e-3)
    np.testing.assert_allclose(y, forward(*values), atol=1e-5)
    found = numerics.batch_norm_grad(g.astype(np.float32), fp32[0], fp32[1], mean, scale)
    for which, gradient in enumerate(found):
        for at in np.ndindex(values[which].shape):
            nudge = np.zeros_like(values[which])
            nudge[at] = 1e-6
            up = [value + nudge if i == which else value for i, value in enumerate(values)]
            down = [value - nudge if i == which else value for i, value in enumerate(values)]
            slope = np.sum(g * (forward(*up) - forward(*down))) / 2e-6
            np.testing.assert_allclose(gradient[at], slope, rtol=1e-4, atol=1e-4)


def test_batch_norm_is_its_composition() -> None:
    x, gamma, beta = random(1, 3, 4, 5, 2) * 3 + 2, random(2, 4), random(3, 4)
    y, mean, var, scale = numerics.batch_norm_train(channels_last(x), gamma, beta, eps=1e-5)
    column = (4, 1, 1)
    centred = x - numerics.reduce_mean(x, axes=(0, 2, 3)).reshape(column)
    expected_var = numerics.reduce_mean(centred * centred, axes=(0, 2, 3))
    expected_scale = np.float32(1) / np.sqrt(expected_var + np.float32(1e-5))
    expected = centred * expected_scale.reshape(column) * gamma.reshape(column) + beta.reshape(column)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(var, expected_var)
    np.testing.assert_array_equal(scale, expected_scale)
    np.testing.assert_array_equal(mean, numerics.reduce_mean(x, axes=(0, 2, 3)))


def test_lightnorm_passes_are_those_of_section_5() -> None:
    x, g, gamma, beta = random(1, 4, 5, 4, 4), random(2, 4, 5, 4, 4), random(3, 5), random(4, 5)
    saved = numerics.lightnorm_forward(x, gamma, beta, eps=1e-5)
    results = numerics.lightnorm_train(x, gamma, beta, eps=1e-5)
    y, mean, spread, xhat, argmax, argmin, scale, gamma_q = results
    np.testing.assert_array_equal(y, saved.y)
    np.testing.assert_array_equal(mean, saved.mean)
    np.testing.assert_array_equal(spread, saved.range)
    found = numerics.lightnorm_train_grad(g, xhat, argmax, argmin, scale, gamma_q)
    for one, expected in zip(found, numerics.lightnorm_backward(g, saved), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_dropout_keeps_its_share_and_its_scale() -> None:
    mask = numerics.dropout_mask(np.array(3), shape=(100, 1000), ratio=0.25, seed=1, node=2)
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(float((mask == 0).mean()) - 0.25) < 0.005
    again = numerics.dropout_mask(np.array(3), shape=(100, 1000), ratio=0.25, seed=1, node=2)
    other = numerics.dropout_mask(np.array(4), shape=(100, 1000), ratio=0.25, seed=1, node=2)
    np.testing.assert_array_equal(mask, again)
    assert float((mask == other).mean()) < 0.7
    bits = numerics.random_bits((100, 1000), seed=1, stream=numerics.stream_of(3, 2))
    np.testing.assert_array_equal(mask == 0, bits < 1 << 14)
    with pytest.raises(ValueError, match="ratio"):
        numerics.dropout_mask(np.array(0), shape=(2,), ratio=1.0, seed=0, node=0)


def test_stochastic_rounding_draws_new_bits_each_step() -> None:
    x = random(1, 4, 64)
    attributes: dict[str, Any] = {"mantissa_bits": 4, "tile": (1, 64), "rounding": "stochastic"}
    first = numerics.quantize_in_step(x, np.array(7), seed=5, node=3, **attributes)
    expected = numerics.quantize(x, seed=5, stream=7 * 4096 + 3, **attributes)
    np.testing.assert_array_equal(first.mantissa, expected.mantissa)
    second = numerics.quantize_in_step(x, np.array(8), seed=5, node=3, **attributes)
    assert (first.mantissa != second.mantissa).any()
