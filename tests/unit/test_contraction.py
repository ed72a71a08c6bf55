"""Contraction: the fast way against the reference on operands made to show a wrong order or rounding."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    BlockTensor,
    NonFiniteError,
    block_matmul,
    block_matmul_reference,
    quantize,
)
from flexc.numerics import contraction as contraction_module
from flexc.numerics.contraction import accumulate_segments, contract_rows, run_slices
from flexc.numerics.contraction_bounds import columns_bound, rows_bound, rows_exact_as_a_whole
from flexc.numerics.contraction_reference import round_to_fp32
from flexc.numerics.exact_arithmetic import FP32, FP64, SegmentProduct, cannot_overflow, exact_dtype

pytestmark = pytest.mark.usefixtures("engine")

Array = NDArray[np.float32]
Matmul = Callable[..., Array]
both = pytest.mark.parametrize("matmul", [block_matmul, block_matmul_reference])


def spread(shape: tuple[int, ...], exponents: int, seed: int = 0) -> Array:
    """Normal noise times powers of two from -exponents to +exponents."""
    random = np.random.default_rng(seed)
    powers = 2.0 ** random.integers(-exponents, exponents + 1, shape)
    return (random.standard_normal(shape) * powers).astype(np.float32)


def block(x: Array, bits: int, tile: tuple[int, ...], sign: str = "included") -> BlockTensor:
    return quantize(x, mantissa_bits=bits, tile=tile, sign=sign)


def row(values: list[float], bits: int, group: int) -> BlockTensor:
    return block(np.array([values], np.float32), bits, (1, group))


def column(values: list[float], bits: int, group: int) -> BlockTensor:
    return block(np.array([values], np.float32).T, bits, (group, 1))


FORMATS = [(4, 4), (8, 8), (16, 16), (4, 16), (8, 16), (24, 8), (24, 24)]
TILES = [((1, 7), (7, 1)), ((1, 5), (7, 1)), ((2, 100), (3, 2)), ((1, 1), (9, 9))]


@pytest.mark.parametrize("exponents", [1, 12, 30, 60])
@pytest.mark.parametrize(("bits_a", "bits_b"), FORMATS)
@pytest.mark.parametrize(("tile_a", "tile_b"), TILES)
def test_fast_is_the_reference(
    bits_a: int, bits_b: int, tile_a: tuple[int, int], tile_b: tuple[int, int], exponents: int
) -> None:
    a = block(spread((5, 31), exponents, 1), bits_a, tile_a)
    b = block(spread((31, 4), exponents, 2), bits_b, tile_b, "separate" if bits_b < 24 else "included")
    bias = spread((4,), 10, 3)
    assert block_matmul(a, b, bias).tobytes() == block_matmul_reference(a, b, bias).tobytes()


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((2, 1, 3, 9), (3, 9, 4)), ((2, 3, 9), (9, 4)), ((3, 9), (2, 2, 9, 4)), ((4, 2, 3, 9), (1, 2, 9, 1))],
)
def test_batches_broadcast(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    a = block(spread(shape_a, 12), 8, (*[1] * (len(shape_a) - 2), 1, 4))
    b = block(spread(shape_b, 12, 1), 16, (*[1] * (len(shape_b) - 2), 3, 1))
    found, expected = block_matmul(a, b), block_matmul_reference(a, b)
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@both
def test_segments_are_added_in_order(matmul: Matmul) -> None:
    one = column([1.0, 1.0, 1.0], 8, 1)
    assert matmul(row([2.0**25, 1.0, -(2.0**25)], 8, 1), one).item() == 0.0
    assert matmul(row([2.0**25, -(2.0**25), 1.0], 8, 1), one).item() == 1.0


@both
def test_one_segment_is_rounded_once(matmul: Matmul) -> None:
    # 2^24 + 1 + 1 is representable; 2^24 + 1 alone would be rounded down twice.
    a, b = row([4096.0, 1.0, 1.0], 16, 3), column([4096.0, 1.0, 1.0], 16, 3)
    assert matmul(a, b).item() == 2.0**24 + 2
    a, b = row([4096.0, 1.0, 1.0], 16, 1), column([4096.0, 1.0, 1.0], 16, 1)
    assert matmul(a, b).item() == 2.0**24


@both
def test_a_partial_is_rounded_before_it_is_added(matmul: Matmul) -> None:
    # The second segment, 2^24 + 1, is a tie that goes down to 2^24; unrounded, 1 + 2^24 + 1 would be exact.
    a = row([1.0, 4096.0, 1.0], 16, 1)
    first = BlockTensor.from_planes(
        np.array([[1, 4096, 1]], np.int16), np.array([[141, 141]], np.uint8), a.format, (1, 2)
    )
    second = BlockTensor.from_planes(
        np.array([[2], [4096], [1]], np.int16), np.array([[141], [141]], np.uint8), a.format, (2, 1)
    )
    assert first.values.tolist() == [[1.0, 4096.0, 1.0]]
    assert matmul(first, second).item() == 2.0**24 + 4


@both
def test_no_result_is_minus_zero(matmul: Matmul) -> None:
    a, b = row([-(2.0**-80), 0.0], 8, 1), column([2.0**-80, -1.0], 8, 1)
    for bias in (None, np.array([-0.0], np.float32)):
        assert not np.signbit(matmul(a, b, bias)).any()


@both
def test_tiny_products_are_rounded_to_subnormals(matmul: Matmul) -> None:
    assert matmul(row([3 * 2.0**-76], 8, 1), column([2.0**-74], 8, 1)).item() == 2.0**-148
    assert matmul(row([2.0**-76], 8, 1), column([2.0**-74], 8, 1)).item() == 0.0


@both
def test_overflow_is_an_error(matmul: Matmul) -> None:
    with pytest.raises(NonFiniteError, match=r"block_matmul: non-finite value in 'y' at index \[1, 0\]"):
        matmul(block(np.array([[1.0], [2.0**100]], np.float32), 8, (1, 1)), column([2.0**28], 8, 1))
    # Halves of it do not overflow; the order decides.
    a = row([1.5 * 2.0**100, 1.5 * 2.0**100, -(2.0**100)], 8, 1)
    with pytest.raises(NonFiniteError):
        matmul(a, column([2.0**27] * 3, 8, 1))


@both
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_sum_of_nothing_is_zero(matmul: Matmul, batch: tuple[int, ...]) -> None:
    ones = (1,) * len(batch)
    a = block(np.zeros((*batch, 3, 0), np.float32), 8, (*ones, 1, 4))
    b = block(np.zeros((*batch, 0, 2), np.float32), 8, (*ones, 4, 1))
    bias = np.array([1.0, -0.0], np.float32)
    assert matmul(a, b).tobytes() == np.zeros((*batch, 3, 2), np.float32).tobytes()
    assert matmul(a, b, bias).tobytes() == np.full((*batch, 3, 2), [1.0, 0.0], np.float32).tobytes()


@both
def test_bias_must_be_finite(matmul: Matmul) -> None:
    with pytest.raises(NonFiniteError, match="'bias' at index"):
        matmul(row([1.0], 8, 1), column([1.0], 8, 1), np.array([np.nan], np.float32))


def test_shapes_that_do_not_match() -> None:
    with pytest.raises(ValueError, match=r"matmul of shapes \[1, 2\] and \[3, 1\]"):
        block_matmul(row([1.0, 1.0], 8, 1), column([1.0, 1.0, 1.0], 8, 1))


@pytest.mark.parametrize(
    ("integer", "exponent", "expected"),
    [
        (2**24 + 1, 0, 2.0**24),
        (2**24 + 3, 0, 2.0**24 + 4),
        (-(2**24 + 1), 5, -(2.0**29)),
        (3, -150, 2.0**-148),
        (1, -150, 0.0),
        (-1, -151, 0.0),
        (2**24 - 1, 104, float(np.finfo(np.float32).max)),
        (2**25 - 1, 103, np.inf),
    ],
)
def test_rounding_of_the_reference(integer: int, exponent: int, expected: float) -> None:
    found = round_to_fp32(integer, exponent)
    assert found == expected
    assert not (found == 0 and np.signbit(found))


def test_exact_types() -> None:
    narrow, wide = row([1.0] * 108, 8, 108), row([1.0] * 54, 16, 54)
    assert exact_dtype(narrow, narrow, 108) == FP32
    assert exact_dtype(wide, wide, 54) == FP64
    assert exact_dtype(block(np.ones((1, 258), np.float32), 24, (1, 258), "separate"), wide, 1 << 20) is None
    tiny = row([2.0**-80], 8, 1)
    assert exact_dtype(tiny, tiny, 1) == FP64, "the unit of the product is below the least subnormal"
    huge = row([2.0**70], 8, 1)
    assert exact_dtype(huge, huge, 1) == FP64, "the sum overflows fp32 before it is rounded"
    assert not cannot_overflow(huge, huge, 1, None)
    assert not cannot_overflow(narrow, narrow, 1, np.array([np.nan], np.float32))
    assert cannot_overflow(narrow, narrow, 1 << 20, np.array([1e30], np.float32))


def test_runs_are_cut_by_both_tilings() -> None:
    runs = run_slices(10, (5, 4), (0, 6))
    assert [(run.start, run.stop) for run in runs] == [(0, 3), (3, 6), (6, 7), (7, 10)]
    assert run_slices(0, (0, 3)) == []


def test_rows_are_exact_as_a_whole_where_the_bound_says_so() -> None:
    """Rows of every kind at once: some exact whole, some where adding all at once gives other bits."""
    groups = np.concatenate([spread((40, 9), exponents, exponents) for exponents in (0, 1, 2, 5, 12)])
    x = spread((200, 90), 0) * np.repeat(groups, 10, axis=1)
    a, b = block(x, 8, (1, 10)), block(spread((90, 6), 0, 7), 8, (10, 1))
    whole = rows_exact_as_a_whole(rows_bound(a), columns_bound(b, axes=(0,)))
    assert whole is not None
    assert 10 < whole.sum() < 190
    segments = run_slices(90, (0, 10))
    expected = block_matmul_reference(a, b)
    exact = a.values.astype(np.float64) @ b.values.astype(np.float64)
    assert (exact[whole].astype(np.float32) == expected[whole]).all()
    assert (exact.astype(np.float32) != expected).any(), "no row is inexact, so this shows nothing"
    for rows in (slice(None), np.argsort(~whole)[: whole.sum() + 3]):
        acc = np.empty((len(x[rows]), 6), np.float32)
        contract_rows(a.values[rows], b.values, segments, whole[rows], None, acc)
        assert acc.tobytes() == expected[rows].tobytes()


def test_many_rows_go_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contraction_module, "_ROWS_TO_REUSE_COLUMNS", 3)
    monkeypatch.setattr(contraction_module, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(contraction_module, "bound_pays", lambda *sizes: True)
    a, b = block(spread((10, 25), 3), 8, (1, 4)), block(spread((25, 3), 3, 1), 8, (6, 1))
    assert block_matmul(a, b).tobytes() == block_matmul_reference(a, b).tobytes()


def test_a_minus_zero_of_the_blas_becomes_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SegmentProduct, "of", lambda *operands: np.full((2, 2), -0.0, np.float32))
    operands = np.ones((2, 2), np.float32)
    for cuts in ([slice(0, 2)], [slice(0, 1), slice(1, 2)], []):
        for bias in (None, np.full(2, -0.0, np.float32)):
            acc = np.empty((2, 2), np.float32)
            accumulate_segments(operands, operands, cuts, bias, acc)
            assert not acc.any()
            assert not np.signbit(acc).any()


def test_weights_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Hashable] = []

    def recording(tensor: BlockTensor, key: Hashable, build: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        def record_and_build() -> NDArray[Any]:
            built.append(key)
            return build()

        return prepared(tensor, key, record_and_build)

    prepared = BlockTensor.prepared
    monkeypatch.setattr(BlockTensor, "prepared", recording)
    a, b = block(spread((2, 9), 1), 16, (1, 3)), block(spread((9, 2), 1, 1), 16, (3, 1))
    block_matmul(a, b)
    block_matmul(a, b)
    assert len(built) == 1
