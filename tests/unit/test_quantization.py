"""Quantization: the fast ways against the reference, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    BlockTensor,
    NonFiniteError,
    Rounding,
    Sign,
    quantize,
    quantize_reference,
    zero_setting_error,
)

pytestmark = pytest.mark.usefixtures("engine")

Tile = tuple[int, ...]


def assert_same(found: BlockTensor, expected: BlockTensor) -> None:
    assert found.tile == expected.tile
    assert found.exponent.tobytes() == expected.exponent.tobytes()
    assert found.mantissa.dtype == expected.mantissa.dtype
    assert found.mantissa.tobytes() == expected.mantissa.tobytes()
    assert found.values.tobytes() == expected.values.tobytes()


def wide(shape: Tile, seed: int, spread: int = 14) -> NDArray[np.float32]:
    """Values whose exponents are spread, with zeros of both signs among them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * 2.0 ** random.integers(-spread, spread + 1, shape)
    x[random.random(shape) < 0.15] = -0.0
    return x.astype(np.float32)


CASES = [
    ((7,), (3,)),
    ((4, 9), (1, 4)),
    ((4, 9), (3, 4)),
    ((2, 10, 3, 3), (1, 4, 1, 1)),
    ((2, 10, 3, 3), (2, 1, 1, 1)),
    ((6, 1, 3, 3), (1, 1, 3, 3)),
    ((2, 6, 5, 5), (1, 4, 3, 3)),
    ((2, 6, 4, 5), (1, 1, 2, 5)),
    ((2, 3, 2, 2, 3), (1, 2, 2, 2, 2)),
]


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("sign", list(Sign))
@pytest.mark.parametrize("mantissa_bits", [2, 4, 8, 16, 24])
@pytest.mark.parametrize(("shape", "tile"), CASES)
def test_fast_is_the_reference(
    shape: Tile, tile: Tile, mantissa_bits: int, sign: Sign, rounding: Rounding
) -> None:
    x = wide(shape, seed=mantissa_bits)
    options = {
        "mantissa_bits": mantissa_bits,
        "tile": tile,
        "sign": sign,
        "rounding": rounding,
        "seed": 5,
        "stream": 9,
    }
    assert_same(quantize(x, **options), quantize_reference(x, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2.0**-149, 2.0**-126, 2.0**-118, 2.0**90, 2.0**110])
@pytest.mark.parametrize("mantissa_bits", [4, 16])
def test_ends_of_the_exponent_range(scale: float, mantissa_bits: int) -> None:
    x = (wide((6, 8), seed=1, spread=3) * np.float64(scale)).astype(np.float32)
    assert_same(
        quantize(x, mantissa_bits=mantissa_bits, tile=(1, 4)),
        quantize_reference(x, mantissa_bits=mantissa_bits, tile=(1, 4)),
    )


@pytest.mark.parametrize("rounding", list(Rounding))
def test_results_do_not_depend_on_memory(rounding: Rounding) -> None:
    x = wide((2, 10, 4, 6), seed=3)
    options = {"mantissa_bits": 8, "tile": (1, 4, 1, 1), "rounding": rounding}
    expected = quantize(x, **options)  # type: ignore[arg-type]
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    sliced = np.repeat(x, 2, axis=3)[..., ::2]
    for same in (channels_last, np.asfortranarray(x), sliced, x[::-1].copy()[::-1]):
        found = quantize(same, **options)  # type: ignore[arg-type]
        assert found.values.tobytes() == expected.values.tobytes()
        assert found.mantissa.tobytes() == expected.mantissa.tobytes()
        assert found.exponent.tobytes() == expected.exponent.tobytes()


def test_values_lie_in_memory_as_the_tensor_does() -> None:
    x = np.moveaxis(np.zeros((2, 4, 4, 8), np.float32), -1, 1)
    assert quantize(x, mantissa_bits=8, tile=(1, 108, 1, 1)).values.strides == x.strides


def test_ties_go_to_even_and_are_cut_at_the_largest_magnitude() -> None:
    x = np.array([[1.0, 0.125, 0.375, 0.625, -0.375, 1.875, 1.874]], np.float32)
    t = quantize(x, mantissa_bits=4, tile=(1, 8))
    np.testing.assert_array_equal(t.mantissa, [[4, 0, 2, 2, -2, 7, 7]])
    assert not np.signbit(t.values[t.values == 0]).any()


def test_subnormals_count_as_zero() -> None:
    smallest_normal = 2.0**-126
    x = np.array([[smallest_normal, smallest_normal * 0.99, 0.0]], np.float32)
    t = quantize(x, mantissa_bits=16, tile=(1, 3))
    assert t.exponent.item() == 1
    np.testing.assert_array_equal(t.mantissa, [[1 << 14, 0, 0]])
    assert quantize(x[:, 1:], mantissa_bits=16, tile=(1, 2)).exponent.item() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tile", [(1, 4, 1), (1, 4, 2)])
@pytest.mark.parametrize("rounding", list(Rounding))
def test_what_is_not_finite_is_named(bad: float, tile: Tile, rounding: Rounding) -> None:
    x = np.ones((2, 5, 3), np.float32)
    x[1, 3, 2] = x[1, 4, 0] = bad
    with pytest.raises(
        NonFiniteError, match=r"quantize: non-finite value in 'x' at index \[1, 3, 2\]"
    ) as caught:
        quantize(x, mantissa_bits=8, tile=tile, rounding=rounding)
    located = caught.value.located(op="conv1", tensor="image", step=4)
    assert str(located) == "conv1: non-finite value in 'image' at index [1, 3, 2] in step 4"


def test_wrong_arguments() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(TypeError, match="fp32"):
        quantize(x.astype(np.float64), mantissa_bits=8, tile=(1, 3))
    with pytest.raises(ValueError, match="tile"):
        quantize(x, mantissa_bits=8, tile=(1,))
    with pytest.raises(ValueError, match="up"):
        quantize(x, mantissa_bits=8, tile=(1, 3), rounding="up")
    with pytest.raises(ValueError, match="rank 1"):
        quantize(x[0, 0], mantissa_bits=8, tile=())


def test_empty_tensors() -> None:
    t = quantize(np.zeros((0, 3), np.float32), mantissa_bits=8, tile=(1, 2))
    assert t.exponent.shape == (0, 2)
    assert t.values.shape == (0, 3)


def test_zero_setting_error() -> None:
    x = np.array([[1.0, 0.2, -0.25, 0.0, 2.0**-140]], np.float32)
    assert zero_setting_error(x, mantissa_bits=4, tile=(1, 5)) == pytest.approx(1 / 3)
    assert zero_setting_error(x, mantissa_bits=4, tile=(1, 5), count_zeros=True) == pytest.approx(3 / 5)
    assert zero_setting_error(np.zeros((1, 4), np.float32), mantissa_bits=4, tile=(1, 4)) == 0.0
    assert (
        zero_setting_error(np.zeros((0, 4), np.float32), mantissa_bits=4, tile=(1, 4), count_zeros=True)
        == 0.0
    )
