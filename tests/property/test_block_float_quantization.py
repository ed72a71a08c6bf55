"""Any bits, any tile, any memory: the fast quantization is the reference, and errors stay within a unit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexc.numerics import BlockTensor, Rounding, Sign, quantize, quantize_reference, zero_setting_error

WORDS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1 << 31, 0x3F800000, 0x3FF00000, 0x3FF7FFFF, 0x00800000, 0x007FFFFF, 0x7F7FFFFF]),
)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """A finite tensor of up to 48 elements in some order of memory, and a tile."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda s: np.prod(s) <= 48))
    order = draw(st.permutations(range(len(shape))))
    tile = tuple(draw(st.integers(1, 5)) for _ in shape)
    words = draw(st.lists(WORDS, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    x = np.array(words, np.uint32).view(np.float32)
    x = np.where(np.isfinite(x), x, np.float32(1.5)).reshape([shape[axis] for axis in order])
    return np.ascontiguousarray(x).transpose(np.argsort(order)), tile


def units(t: BlockTensor) -> NDArray[np.float64]:
    unit = np.ldexp(1.0, t.exponent.astype(np.int32) - 127 - (t.format.magnitude_bits - 1))
    for axis, extent in enumerate(t.tile):
        unit = np.repeat(unit, extent, axis=axis).take(np.arange(t.shape[axis]), axis=axis)
    return unit


@settings(max_examples=150, deadline=None)
@given(
    tensors(), st.integers(2, 24), st.sampled_from(Sign), st.sampled_from(Rounding), st.integers(0, 2**32 - 1)
)
def test_fast_is_the_reference(
    case: tuple[NDArray[np.float32], tuple[int, ...]], bits: int, sign: Sign, rounding: Rounding, seed: int
) -> None:
    x, tile = case
    options = {"mantissa_bits": bits, "tile": tile, "sign": sign, "rounding": rounding, "seed": seed}
    found, expected = quantize(x, **options), quantize_reference(x, **options)  # type: ignore[arg-type]
    assert found.exponent.tobytes() == expected.exponent.tobytes()
    assert found.mantissa.tobytes() == expected.mantissa.tobytes()
    assert found.values.tobytes() == expected.values.tobytes()


@settings(max_examples=100, deadline=None)
@given(tensors(), st.integers(2, 24), st.sampled_from(Sign))
def test_zero_setting_errors_count_what_truncation_makes_zero(
    case: tuple[NDArray[np.float32], tuple[int, ...]], bits: int, sign: Sign
) -> None:
    x, tile = case
    options = {"mantissa_bits": bits, "tile": tile, "sign": sign}
    zero = quantize_reference(x, **options, rounding=Rounding.TRUNCATE).mantissa == 0  # type: ignore[arg-type]
    normal = np.abs(x) >= np.finfo(np.float32).smallest_normal
    expected = (zero & normal).sum() / normal.sum() if normal.any() else 0.0
    assert zero_setting_error(x, **options) == expected  # type: ignore[arg-type]
    assert zero_setting_error(x, **options, count_zeros=True) == zero.mean()  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(tensors(), st.sampled_from([4, 8, 16]))
def test_errors_and_idempotence(case: tuple[NDArray[np.float32], tuple[int, ...]], bits: int) -> None:
    x, tile = case
    t = quantize(x, mantissa_bits=bits, tile=tile)
    normal = np.where(np.abs(x) >= 2.0**-126, x, 0).astype(np.float64)
    # Half a unit, or a whole one where the largest magnitude cuts off.
    assert (
        np.abs(t.values - normal) <= units(t) * np.where(np.abs(t.mantissa) == 2 ** (bits - 1) - 1, 1, 0.5)
    ).all()
    if t.exponent_range() is None or t.exponent_range()[0] > bits:  # type: ignore[index]
        again = quantize(t.values, mantissa_bits=bits, tile=tile)
        assert again.values.tobytes() == t.values.tobytes()
