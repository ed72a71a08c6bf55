"""Ranges through kernels: every value in between stays inside, and kernels without an order give none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexc import numerics
from flexc.backends.ranges import Range, quantized_range, range_through
from flexc.ir.kernel_calls import KernelCall

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4, 4)).astype(np.float32) * np.float32(3)
WIDTH = np.abs(RNG.standard_normal(X.shape)).astype(np.float32)
AROUND = Range(X - WIDTH, X + WIDTH)
OTHER = RNG.standard_normal(X.shape).astype(np.float32)
CHANNELS = [RNG.standard_normal(3).astype(np.float32) for _ in range(3)]


@pytest.mark.parametrize(
    ("function", "others", "keywords"),
    [
        ("relu", (), ()),
        ("hard_swish", (), ()),
        ("hard_sigmoid", (), (("alpha", 0.2), ("beta", 0.5))),
        ("leaky_relu", (), (("alpha", 0.5),)),
        ("neg", (), ()),
        ("mul", (OTHER,), ()),
        ("mul", (AROUND,), ()),
        ("sub", (AROUND,), ()),
        ("div", (OTHER,), ()),
        ("less", (OTHER,), ()),
        ("batch_norm", (*CHANNELS, np.ones(3, np.float32)), (("eps", 1e-5),)),
        ("reduce_sum", (), (("axes", (1, 2)), ("keepdims", False))),
    ],
)
def test_values_in_between_stay_inside(function: str, others: tuple[Any, ...], keywords: Any) -> None:
    found = range_through(KernelCall(function, (), keywords), (AROUND, *others))
    assert found is not None
    for _ in range(50):
        drawn = [_between(one) if isinstance(one, Range) else one for one in (AROUND, *others)]
        result = getattr(numerics, function)(*drawn, **dict(keywords))
        assert np.all((found.least <= result) & (result <= found.largest))


def _between(one: Range) -> Any:
    share = RNG.random(one.least.shape).astype(np.float32)
    return np.clip(one.least + share * (one.largest - one.least), one.least, one.largest)


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "exp", "absolute", "gelu", "softmax"])
def test_kernels_that_keep_no_order_have_no_range(function: str) -> None:
    assert range_through(KernelCall(function, (), ()), (AROUND,)) is None


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_quantized_values_stay_inside_too(rounding: str) -> None:
    keywords = (("mantissa_bits", 8), ("tile", (1, 3, 2, 2)), ("sign", "included"), ("rounding", rounding))
    call = KernelCall("quantize", (), keywords)
    narrow = Range(X - WIDTH / 1000, X + WIDTH / 1000)
    for one in (narrow, AROUND):
        found = quantized_range(call, (one,))
        assert found is not None
        assert (found.mantissa is None) == (one is AROUND)
        for _ in range(50):
            result = numerics.quantize(_between(one), **dict(keywords))  # type: ignore[arg-type]
            assert np.all(
                (found.exponent.least <= result.exponent) & (result.exponent <= found.exponent.largest)
            )
            if found.mantissa is not None:
                low, high = found.mantissa.least, found.mantissa.largest
                assert np.all((low <= result.mantissa) & (result.mantissa <= high))


def test_a_negative_slope_turns_the_order_round() -> None:
    assert range_through(KernelCall("leaky_relu", (), (("alpha", -0.5),)), (AROUND,)) is None


def test_an_uncertain_divisor_and_bounds_that_overflow_have_no_range() -> None:
    assert range_through(KernelCall("div", (), ()), (X, AROUND)) is None
    huge = Range(np.full_like(X, -3e38), np.full_like(X, 3e38))
    assert range_through(KernelCall("add", (), ()), (huge, huge)) is None
