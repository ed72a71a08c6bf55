"""The kernels of FP10A in memory against its codes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from flexc.numerics.compiled.fp10 import pack_runs, unpack_runs
from flexc.numerics.fp10_codes import pack_fp10, unpack_fp10

CODES = np.array(
    [0, *(sign << 9 | field << 4 | rest for sign in (0, 1) for field in range(1, 31) for rest in range(16))],
    np.uint16,
)


@pytest.mark.parametrize("count", range(1, 10))
def test_runs_of_codes(count: int) -> None:
    codes = CODES[: len(CODES) // count * count].reshape(-1, count)
    packed = pack_runs(unpack_fp10(codes))
    assert packed is not None
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    assert not bits[:, 10 * count :].any()
    ten = bits[:, : 10 * count].reshape(-1, count, 10)
    assert np.array_equal(ten @ (1 << np.arange(10)), codes)
    values = unpack_runs(packed, count)
    assert values is not None
    assert np.array_equal(pack_fp10(values), codes)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [-0.0, 1.03125, 2.0**-15, 2.0**-14 * 0.5, 65536.0, np.inf, np.nan, -1e-40])
def test_values_that_have_no_code(value: float, place: int) -> None:
    values = np.ones((2, 5), np.float32)
    values[1, place] = value
    assert pack_runs(values) is None


@pytest.mark.parametrize("code", [1, 15, 31 << 4, 1 << 9, 1023])
@pytest.mark.parametrize("place", range(5))
def test_codes_that_have_no_value(code: int, place: int) -> None:
    bits = np.zeros((1, 56), np.uint8)
    bits[0, 10 * place : 10 * place + 10] = code >> np.arange(10) & 1
    assert unpack_runs(np.packbits(bits, axis=1, bitorder="little"), 5) is None
