"""Minifloats and the ten-bit group format: the kernels against the elementwise references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from flexc.numerics import NonFiniteError, bfp10, minifloat
from flexc.numerics.minifloat_reference import bfp10_reference, minifloat_reference

FORMATS = [(5, 4), (6, 3), (5, 12), (8, 0), (8, 7), (8, 22), (8, 23), (2, 0), (2, 3)]
finite_words = st.integers(0, 2**32 - 1).filter(lambda word: word & 0x7F800000 != 0x7F800000)


def same_bytes(x: NDArray[np.float32], y: NDArray[np.float32]) -> bool:
    return x.shape == y.shape and x.tobytes() == y.tobytes()


def edges(exponent_bits: int, fraction_bits: int) -> NDArray[np.float32]:
    """Values next to the ends of a format, ties of both parities, and fp32's own ends; of both signs."""
    bias = 2 ** (exponent_bits - 1) - 1
    dropped = 23 - fraction_bits
    half = 1 << dropped >> 1
    words = [0, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x3F800000]
    for exponent in {127 - bias + 1, 127, 128, 126 + bias, 127 + bias}:
        for fraction in (0, 1 << dropped, 0x7FFFFF & -1 << dropped):
            words += [(exponent << 23) + (fraction & 0x7FFFFF) + step for step in (-1, 0, 1)]
            words += [(exponent << 23) + (fraction & 0x7FFFFF) + half + step for step in (-1, 0, 1)]
    kept = np.array([word for word in words if word < 0x7F800000], np.uint32)
    return np.concatenate([kept, kept | np.uint32(1 << 31)]).view(np.float32)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize(("exponent_bits", "fraction_bits"), FORMATS)
def test_minifloat_at_the_edges_of_a_format(exponent_bits: int, fraction_bits: int, rounding: str) -> None:
    x = edges(exponent_bits, fraction_bits)
    found = minifloat(x, exponent_bits=exponent_bits, fraction_bits=fraction_bits, rounding=rounding)
    expected = minifloat_reference(
        x, exponent_bits=exponent_bits, fraction_bits=fraction_bits, rounding=rounding
    )
    assert same_bytes(found, expected)
    in_range = np.abs(x) < 1.5 * 2.0 ** (2 ** (exponent_bits - 1) - 2)
    assert same_bytes(
        minifloat(x[in_range], exponent_bits=exponent_bits, fraction_bits=fraction_bits, rounding=rounding),
        expected[in_range],
    )


@pytest.mark.parametrize("fraction_bits", [3, 4, 12])
def test_every_significand_rounds_to_nearest_even(fraction_bits: int) -> None:
    words = np.arange(0x3F800000, 0x40000000, dtype=np.int32)
    dropped = 23 - fraction_bits
    nearest = words + (1 << (dropped - 1)) - 1 + (words >> dropped & 1) & -1 << dropped
    found = minifloat(words.view(np.float32), exponent_bits=5, fraction_bits=fraction_bits)
    assert same_bytes(found, nearest.view(np.float32))


@given(arrays(np.uint32, array_shapes(min_dims=1, max_dims=3, max_side=4), elements=finite_words))
@settings(max_examples=60, deadline=None)
def test_minifloat_of_any_words(words: NDArray[np.uint32]) -> None:
    x = words.view(np.float32)
    for exponent_bits, fraction_bits in FORMATS[:3]:
        expected = minifloat_reference(x, exponent_bits=exponent_bits, fraction_bits=fraction_bits)
        found = minifloat(x, exponent_bits=exponent_bits, fraction_bits=fraction_bits)
        assert same_bytes(found, expected)


def test_minifloat_is_the_same_wherever_an_element_stands() -> None:
    x = np.random.default_rng(0).standard_normal((3, 70, 50, 9)).astype(np.float32)
    x[0, 3] *= 2.0**-14
    x[2, 5] *= 2.0**17
    whole = minifloat(x, exponent_bits=5, fraction_bits=4)
    strided = minifloat(x[::-1, ::3, 1::2].transpose(3, 1, 0, 2), exponent_bits=5, fraction_bits=4)
    assert same_bytes(strided.transpose(2, 1, 3, 0), whole[::-1, ::3, 1::2])
    alone = [minifloat(np.array(v), exponent_bits=5, fraction_bits=4) for v in x[0, 3, :3, 0]]
    assert same_bytes(np.array(alone), whole[0, 3, :3, 0])
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    assert minifloat(last, exponent_bits=5, fraction_bits=4).strides == last.strides


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_located_in_row_major_order(bad: float) -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    x[1, 0, 0, 0] = np.nan
    x[0, 2, 3, 1] = bad
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    for laid_out in (x, last):
        with pytest.raises(NonFiniteError) as of_minifloat:
            minifloat(laid_out, exponent_bits=5, fraction_bits=4)
        with pytest.raises(NonFiniteError) as of_bfp10:
            bfp10(laid_out, bits=7)
        assert of_minifloat.value.index == of_bfp10.value.index == (0, 2, 3, 1)


def test_formats_and_roundings_that_do_not_exist() -> None:
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="exponent_bits 9"):
        minifloat(x, exponent_bits=9, fraction_bits=3)
    with pytest.raises(ValueError, match="not stochastically"):
        minifloat(x, exponent_bits=5, fraction_bits=3, rounding="stochastic")
    with pytest.raises(ValueError, match=r"\[N, C"):
        bfp10(x, bits=7)
    with pytest.raises(ValueError, match="0 bits"):
        bfp10(x.reshape(1, 3), bits=0)


@given(
    arrays(
        np.uint32, st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 3)), elements=finite_words
    ),
    st.sampled_from([1, 2, 6, 7, 24, 40]),
)
@settings(max_examples=100, deadline=None)
def test_bfp10_of_any_words(words: NDArray[np.uint32], bits: int) -> None:
    x = words.view(np.float32)
    assert same_bytes(bfp10(x, bits=bits), bfp10_reference(x, bits=bits))


@pytest.mark.parametrize("bits", [1, 6, 7])
def test_bfp10_by_exponent_differences(bits: int) -> None:
    """All patterns of four exponents up to 8 apart, and zero, with every fraction bit set."""
    exponents = np.array(np.meshgrid(*[[0, 120, 121, 123, 126, 127, 128]] * 4)).reshape(4, -1).T
    words = (exponents << 23 | np.where(exponents > 0, 0x7FFFFF, 0)).astype(np.uint32)
    words[:, 1::2] |= np.uint32(1 << 31)
    x = words.view(np.float32)
    assert same_bytes(bfp10(x, bits=bits), bfp10_reference(x, bits=bits))
