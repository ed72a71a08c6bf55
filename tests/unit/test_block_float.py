"""Formats and block tensors."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.numerics import FB12, FB16, FB24, GROUP_LENGTH, BlockFormat, BlockTensor, Sign, dequantize


@pytest.mark.parametrize(
    ("block_format", "magnitude_bits", "dtype"),
    [
        (FB12, 3, np.int8),
        (FB16, 7, np.int8),
        (FB24, 15, np.int16),
        (BlockFormat(8, Sign.SEPARATE), 8, np.int16),
        (BlockFormat(24, Sign.SEPARATE), 24, np.int32),
    ],
)
def test_magnitude_bits_and_dtype(block_format: BlockFormat, magnitude_bits: int, dtype: type) -> None:
    assert block_format.magnitude_bits == magnitude_bits
    assert block_format.largest_magnitude == 2**magnitude_bits - 1
    assert block_format.mantissa_dtype == dtype


@pytest.mark.parametrize(
    ("bits", "sign"), [(1, "included"), (26, "included"), (0, "separate"), (25, "separate")]
)
def test_magnitudes_have_1_to_24_bits(bits: int, sign: str) -> None:
    with pytest.raises(ValueError, match="mantissa_bits"):
        BlockFormat(bits, Sign(sign))


def test_a_default_group_is_one_operand_line() -> None:
    for bits, length in GROUP_LENGTH.items():
        assert bits * length == 864
        assert BlockFormat(bits).storage_bits(length) == 864 + 8
        assert BlockFormat(bits, Sign.SEPARATE).storage_bits(length, groups=2) == 864 + length + 16


def planes() -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.int8]], np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
]:
    mantissa = np.array([[1, -7, 3, 0], [5, 0, 0, 0]], np.int8)
    exponent = np.array([[127, 130], [1, 0]], np.uint8)
    return mantissa, exponent


def test_values_of_planes_are_exact() -> None:
    t = BlockTensor.from_planes(*planes(), FB12, (1, 3))
    expected = np.array([[0.25, -1.75, 0.75, 0], [5 * 2.0**-128, 0, 0, 0]], np.float32)
    assert dequantize(t).tobytes() == expected.tobytes()
    assert t.exponent_range() == (1, 130)


def test_mantissas_come_back_from_values() -> None:
    t = BlockTensor.from_planes(*planes(), FB12, (1, 3))
    back = BlockTensor(shape=t.shape, exponent=t.exponent, format=FB12, tile=t.tile, values=t.values)
    assert back.mantissa.dtype == np.int8
    np.testing.assert_array_equal(back.mantissa, t.mantissa)


def test_tiles_are_cut_to_the_shape() -> None:
    mantissa, _ = planes()
    assert BlockTensor.from_planes(mantissa, np.full((2, 1), 9, np.uint8), FB12, (1, 216)).tile == (1, 4)


def test_a_tensor_of_zeros_has_no_exponents() -> None:
    t = BlockTensor.from_planes(np.zeros((2, 3), np.int8), np.zeros((2, 1), np.uint8), FB16, (1, 3))
    assert t.exponent_range() is None
    assert not t.values.any()


def test_planes_that_do_not_belong_together() -> None:
    mantissa, exponent = planes()
    with pytest.raises(ValueError, match="exponent plane"):
        BlockTensor.from_planes(mantissa, exponent, FB12, (1, 4))
    with pytest.raises(ValueError, match="exponent plane"):
        BlockTensor.from_planes(mantissa, exponent.astype(np.int32), FB12, (1, 3))
    with pytest.raises(ValueError, match="magnitude 8 does not fit"):
        BlockTensor.from_planes(mantissa + (mantissa == -7) * -1, exponent, FB12, (1, 3))
    with pytest.raises(ValueError, match="exponent 0"):
        BlockTensor.from_planes(np.ones_like(mantissa), exponent, FB12, (1, 3))


@pytest.mark.parametrize("tile", [(1,), (1, 0), (1, 2, 3)])
def test_tiles_that_do_not_fit(tile: tuple[int, ...]) -> None:
    mantissa, exponent = planes()
    with pytest.raises(ValueError, match="tile"):
        BlockTensor.from_planes(mantissa, exponent, FB12, tile)
