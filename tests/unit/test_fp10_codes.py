"""The storage codes of FP10A, all of them, and what has none."""

from __future__ import annotations

import numpy as np
import pytest

from flexc.numerics import minifloat, pack_fp10, unpack_fp10

VALID = np.array(
    [0] + [s << 9 | e << 4 | f for s in (0, 1) for e in range(1, 31) for f in range(16)], np.uint16
)


def test_every_code_by_its_formula() -> None:
    values = unpack_fp10(VALID)
    signs, fields, fractions = VALID >> 9, VALID >> 4 & 31, VALID & 15
    expected = (1 - 2.0 * signs) * 2.0 ** (fields.astype(float) - 15) * (1 + fractions / 16)
    expected[0] = 0
    assert values.tobytes() == expected.astype(np.float32).tobytes()
    assert np.array_equal(pack_fp10(values), VALID)
    assert len(set(values.tolist())) == len(VALID)


def test_every_value_of_the_minifloat_has_a_code() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5, 4000)).astype(np.float32)
    x *= np.float32(2) ** np.random.default_rng(1).integers(-18, 18, x.shape)
    values = minifloat(x, exponent_bits=5, fraction_bits=4)
    for laid_out in (values, values.transpose(2, 0, 1), values[:, ::2, ::-3]):
        assert unpack_fp10(pack_fp10(laid_out)).tobytes() == laid_out.tobytes()


@pytest.mark.parametrize(
    "bad", [-0.0, 2.0**-15, 2.0**16, 1 + 2.0**-5, 1 + 2.0**-23, 2.0**-149, 3e38, -(2.0**-15), np.nan, -np.inf]
)
def test_values_without_a_code(bad: float) -> None:
    x = np.ones((2, 40000), np.float32)
    x[1, 7] = bad
    with pytest.raises(ValueError, match=r"does not hold .* at index \[1, 7\]"):
        pack_fp10(x)


@pytest.mark.parametrize("bad", [1, 15, 31 << 4, 1 << 9, 0x20F, 0x3FF, 1 << 10, 0xFFFF])
def test_codes_without_a_value(bad: int) -> None:
    codes = np.zeros((2, 3), np.uint16)
    codes[0, 2] = codes[1, 0] = bad
    with pytest.raises(ValueError, match=rf"code {bad} at index \[0, 2\]"):
        unpack_fp10(codes)


def test_shapes_are_kept() -> None:
    for shape in ((), (0, 3), (2, 1)):
        codes = pack_fp10(np.zeros(shape, np.float32))
        assert codes.shape == shape
        assert unpack_fp10(codes).shape == shape
