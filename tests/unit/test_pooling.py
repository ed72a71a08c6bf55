"""Pooling against its text, window by window: ties, signed zeros, order of sums, counts, memory order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import average_pool, max_pool

Float32Array = NDArray[np.float32]


def wide_values(shape: tuple[int, ...]) -> Float32Array:
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape)).astype(np.float32)


def out_extent(
    size: int, kernel: int, stride: int, begin: int, end: int, dilation: int, ceil_mode: bool
) -> int:
    free = size + begin + end - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return free // stride + 1
    extent = math.ceil(free / stride) + 1
    return extent - 1 if (extent - 1) * stride >= size + begin else extent


def pool_by_the_text(
    x: Float32Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
    count_include_pad: bool | None,
) -> Float32Array:
    """One window after the other; count_include_pad None is the maximum."""
    rank = len(kernel)
    begins, ends = pads[:rank], pads[rank:]
    out = tuple(
        out_extent(x.shape[2 + d], kernel[d], stride[d], begins[d], ends[d], dilation[d], ceil_mode)
        for d in range(rank)
    )
    y = np.zeros((*x.shape[:2], *out), np.float32)
    for n, c in np.ndindex(*x.shape[:2]):
        for position in np.ndindex(*out):
            best, total, count = np.float32(-np.inf), np.float32(0.0), 0
            for tap in itertools.product(*(range(k) for k in kernel)):
                at = [position[d] * stride[d] - begins[d] + tap[d] * dilation[d] for d in range(rank)]
                inside = all(0 <= at[d] < x.shape[2 + d] for d in range(rank))
                on_pads = all(-begins[d] <= at[d] < x.shape[2 + d] + ends[d] for d in range(rank))
                count += on_pads if count_include_pad else inside
                if inside:
                    value = x[(n, c, *at)]
                    total = total + value
                    best = value if value > best or np.isnan(value) else best
            y[(n, c, *position)] = best if count_include_pad is None else total / np.float32(count)
    return y


CASES = [
    ((2, 3, 11), (3,), (2,), (1, 1), (1,), False),
    ((2, 3, 11), (4,), (3,), (1, 0), (2,), True),
    ((2, 3, 9, 8), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False),
    ((2, 3, 9, 8), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), True),
    ((2, 3, 9, 8), (2, 3), (2, 3), (0, 1, 1, 0), (2, 1), True),
    ((1, 5, 7, 7), (7, 7), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((1, 2, 4, 4), (2, 2), (3, 3), (1, 1, 1, 1), (1, 1), True),
    ((1, 2, 6, 5, 7), (2, 3, 2), (2, 1, 3), (0, 1, 1, 1, 1, 0), (1, 1, 2), True),
]
each_case = pytest.mark.parametrize(("shape", "kernel", "stride", "pads", "dilation", "ceil_mode"), CASES)


@each_case
@pytest.mark.parametrize("count_include_pad", [None, False, True])
def test_pooling_follows_the_text(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
    count_include_pad: bool | None,
) -> None:
    x = wide_values(shape)
    expected = pool_by_the_text(x, kernel, stride, pads, dilation, ceil_mode, count_include_pad)
    for memory in (x, np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1), x[..., ::-1].copy()[..., ::-1]):
        if count_include_pad is None:
            y = max_pool(
                memory, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
            )
        else:
            y = average_pool(
                memory,
                kernel=kernel,
                stride=stride,
                pads=pads,
                dilation=dilation,
                ceil_mode=ceil_mode,
                count_include_pad=count_include_pad,
            )
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()


def test_a_padded_sum_starts_from_plus_zero() -> None:
    x = np.full((1, 1, 3, 3), -0.0, np.float32)
    y = average_pool(x, kernel=(2, 2), pads=(1, 1, 1, 1))
    assert not np.signbit(y).any()


def test_the_first_of_two_zeros_wins() -> None:
    x = np.array([[[-1.0, -0.0, 0.0, -1.0, 0.0, -0.0]]], np.float32)
    y = max_pool(x, kernel=(3,), stride=(3,))
    assert np.signbit(y).tolist() == [[[True, False]]]
    many = np.tile(x, (1, 40, 1))
    assert max_pool(many, kernel=(3,), stride=(3,)).tobytes() == np.tile(y, (1, 40, 1)).tobytes()


def test_zeros_keep_their_bits_beside_a_negative_zero_elsewhere() -> None:
    """The presence of a -0 chooses another path: it may not change a window that has none."""
    x = wide_values((1, 4, 6, 6))
    with_zero = x.copy()
    with_zero[0, 0, 0, 0] = -0.0
    plain, ordered = (max_pool(v, kernel=(2, 2), stride=(2, 2)) for v in (x, with_zero))
    assert plain[:, 1:].tobytes() == ordered[:, 1:].tobytes()


def test_nan_and_infinity_propagate() -> None:
    x = np.zeros((1, 1, 6), np.float32)
    x[0, 0, [1, 2, 5]] = np.nan, 7.0, -np.inf
    assert np.isnan(max_pool(x, kernel=(3,), stride=(3,))[0, 0]).tolist() == [True, False]
    average = average_pool(x, kernel=(3,), stride=(3,))[0, 0]
    assert np.isnan(average[0])
    assert average[1] == -np.inf
    everywhere = np.full((1, 1, 4), -np.inf, np.float32)
    assert (max_pool(everywhere, kernel=(3,), pads=(1, 1)) == -np.inf).all()


def test_wrong_attributes_are_refused() -> None:
    x = wide_values((1, 1, 4, 4))
    with pytest.raises(ValueError, match="larger than the padded input"):
        max_pool(x, kernel=(5, 5))
    with pytest.raises(ValueError, match="do not match 2 spatial dimensions"):
        average_pool(x, kernel=(3,))
    with pytest.raises(ValueError, match="out of range"):
        max_pool(x, kernel=(2, 2), stride=(0, 1))
