"""Reductions over axes, softmax and the fp32 normalizations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    batch_norm,
    exp,
    lane_sum,
    layer_norm,
    log,
    log_softmax,
    reduce_max,
    reduce_mean,
    reduce_sum,
    softmax,
)

Float32Array = NDArray[np.float32]


def wide_values(shape: tuple[int, ...]) -> Float32Array:
    rng = np.random.default_rng(3)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-25, 25, shape)).astype(np.float32)


def channels_last(x: Float32Array) -> Float32Array:
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def test_sum_takes_the_positions_in_row_major_order() -> None:
    x = wide_values((3, 5, 7, 9))
    rows = x.transpose(1, 0, 2, 3).reshape(5, -1)
    expected = lane_sum(rows).tobytes()
    assert reduce_sum(x, axes=(0, 2, 3)).tobytes() == expected
    assert reduce_sum(x, axes=(-1, 0, 2)).tobytes() == expected
    assert reduce_sum(channels_last(x), axes=(0, 2, 3)).tobytes() == expected
    assert reduce_sum(x, axes=(0, 2, 3), keepdims=True).shape == (1, 5, 1, 1)
    assert reduce_sum(x, axes=()).tobytes() == x.tobytes()


def test_mean_divides_the_lane_sum_by_the_count() -> None:
    x = wide_values((4, 3, 35))
    expected = lane_sum(x.reshape(4, -1)) / np.float32(105)
    assert reduce_mean(x, axes=(1, 2)).tobytes() == expected.tobytes()


def test_the_first_of_equal_maxima_wins() -> None:
    x = np.full((2, 40), -1.0, np.float32)
    x[0, [7, 30]] = 0.0, -0.0
    x[1, [7, 30]] = -0.0, 0.0
    assert np.signbit(reduce_max(x, axes=(1,))).tolist() == [False, True]
    assert np.signbit(reduce_max(x[:, ::-1], axes=(1,))).tolist() == [True, False]
    assert reduce_max(np.array([[1, np.nan, 2], [1, -np.inf, 2]], np.float32), axes=(1,))[1] == 2
    assert np.isnan(reduce_max(np.array([1, np.nan, 2, -0.0], np.float32), axes=(0,)))


def test_softmax_is_its_four_steps() -> None:
    x = wide_values((3, 50, 4)) % np.float32(20)
    shifted = x - x.max(axis=1, keepdims=True)
    exponentials = exp(shifted)
    total = lane_sum(np.moveaxis(exponentials, 1, -1))[:, None, :]
    assert softmax(x, axis=1).tobytes() == (exponentials / total).tobytes()
    assert log_softmax(x, axis=1).tobytes() == (shifted - log(total)).tobytes()


def test_softmax_survives_large_and_infinite_scores() -> None:
    x = np.array([[1e30, 1e30, -np.inf], [0.0, -200.0, 3e38]], np.float32)
    assert softmax(x).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert np.isnan(softmax(np.array([np.nan, 0.0], np.float32))).all()
    assert log_softmax(x)[1].tolist() == [-np.float32(3e38), -np.float32(3e38), 0.0]


def test_layer_norm_is_its_steps() -> None:
    x = wide_values((2, 5, 6, 7)) % np.float32(9)
    gamma, beta = wide_values((6, 7)), wide_values((6, 7))
    mean = reduce_mean(x, axes=(2, 3), keepdims=True)
    centred = x - mean
    variance = reduce_mean(centred * centred, axes=(2, 3), keepdims=True)
    expected = centred * (np.float32(1) / np.sqrt(variance + np.float32(1e-5))) * gamma
    assert layer_norm(x, gamma, axis=2).tobytes() == expected.tobytes()
    assert layer_norm(x, gamma, beta, axis=-2).tobytes() == (expected + beta).tobytes()
    assert layer_norm(channels_last(x), gamma, axis=2).tobytes() == expected.tobytes()


def test_layer_norm_of_a_constant_row_is_beta() -> None:
    x = np.full((1, 9), 3.0, np.float32)
    beta = np.arange(9, dtype=np.float32)
    assert layer_norm(x, np.ones(9, np.float32), beta).tolist() == [beta.tolist()]


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 5, 2)])
def test_batch_norm_is_a_product_and_a_sum(shape: tuple[int, ...]) -> None:
    x = wide_values(shape)
    gamma, beta, mean = wide_values((3, 4))
    variance = np.abs(wide_values((4,)))
    scale = gamma / np.sqrt(variance + np.float32(1e-3))
    shift = beta - mean * scale
    by_channel = (4,) + (1,) * (len(shape) - 2)
    expected = x * scale.reshape(by_channel) + shift.reshape(by_channel)
    assert batch_norm(x, gamma, beta, mean, variance, eps=1e-3).tobytes() == expected.tobytes()
