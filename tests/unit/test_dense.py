"""The fp32 profile's products against sums in fp64, over shapes, strides and groups."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import conv, matmul

Float32Array = NDArray[np.float32]


def values(*shape: int) -> Float32Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def conv_by_the_text(
    x: Float32Array,
    w: Float32Array,
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
) -> NDArray[np.float64]:
    """ONNX's definition, tap by tap, in fp64."""
    rank = w.ndim - 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    out = [(n - e) // s + 1 for n, e, s in zip(padded.shape[2:], extents, stride, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    inputs, outputs = w.shape[1], w.shape[0] // group
    for o, tap in product(range(w.shape[0]), np.ndindex(*w.shape[2:])):
        taken = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        for i in range(inputs):
            channel = (o // outputs) * inputs + i
            y[:, o] += padded[(slice(None), channel, *taken)] * float(w[(o, i, *tap)])
    return y


CASES = [
    ((2, 6, 9), (4, 6, 3), (2,), (1, 2), (1,), 1),
    ((2, 6, 9), (6, 1, 3), (1,), (1, 1), (1,), 6),
    ((3, 4, 8, 7), (5, 4, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((3, 4, 8, 7), (5, 4, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ((3, 4, 8, 7), (5, 4, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((2, 6, 11, 9), (9, 2, 3, 2), (2, 1), (0, 1, 2, 0), (2, 3), 3),
    ((2, 6, 11, 9), (6, 1, 5, 3), (2, 3), (2, 1, 2, 1), (1, 2), 6),
    ((2, 6, 5, 5), (12, 1, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 6),
    ((2, 3, 5, 6, 4), (4, 3, 2, 3, 2), (1, 2, 1), (1, 0, 1, 0, 1, 1), (1, 1, 2), 1),
    ((2, 4, 5, 6, 4), (4, 1, 3, 3, 3), (1, 1, 1), (1, 1, 1, 1, 1, 1), (1, 1, 1), 4),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "pads", "dilation", "group"), CASES)
def test_conv(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
) -> None:
    x, w, bias = values(*x_shape), values(*w_shape), values(w_shape[0])
    expected = conv_by_the_text(x, w, stride, pads, dilation, group)
    tolerance = 1e-5 * np.abs(expected).max()
    for memory in (x, np.asfortranarray(x), np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)):
        y = conv(memory, w, stride=stride, pads=pads, dilation=dilation, group=group)
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)
    with_bias = conv(x, w, bias, stride=stride, pads=pads, dilation=dilation, group=group)
    shift = bias.reshape(-1, *(1,) * (x.ndim - 2))
    np.testing.assert_allclose(with_bias, expected + shift, rtol=0, atol=tolerance)


def test_blocks_of_rows_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, depthwise = values(3, 4, 9, 5), values(2, 4, 3, 3), values(4, 1, 3, 3)
    whole = conv(x, w, pads=(1, 1, 1, 1)), conv(x, depthwise, pads=(1, 1, 1, 1), group=4)
    monkeypatch.setattr("flexc.numerics.dense.PATCH_ELEMENTS", 2 * 5 * 36)
    monkeypatch.setattr("flexc.numerics.windows.Windows.blocks.__defaults__", (2 * 5 * 4,))
    cut = conv(x, w, pads=(1, 1, 1, 1)), conv(x, depthwise, pads=(1, 1, 1, 1), group=4)
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_matmul_broadcasts_the_batch_and_adds_the_bias_last() -> None:
    a, b, bias = values(3, 1, 4, 5), values(2, 5, 6), values(6)
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(matmul(a, b), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(matmul(a, b, bias), expected + bias, rtol=0, atol=1e-5)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"conv of \(1, 3, 4, 4\) with \(2, 2, 1, 1\) in 1 groups"):
        conv(values(1, 3, 4, 4), values(2, 2, 1, 1))
    with pytest.raises(ValueError, match="larger than the padded input"):
        conv(values(1, 2, 2, 2), values(2, 2, 3, 3))
    with pytest.raises(ValueError, match="do not match 2 spatial dimensions"):
        conv(values(1, 2, 4, 4), values(2, 2, 3, 3), stride=(1,))
    with pytest.raises(TypeError, match="float64"):
        matmul(np.zeros((2, 2)), values(2, 2))  # type: ignore[arg-type]
