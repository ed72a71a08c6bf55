"""Kernels compiled and by NumPy give the bytes of the references; numba stays out until it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    BlockTensor,
    NonFiniteError,
    block_conv,
    block_conv_reference,
    block_matmul,
    block_matmul_reference,
    clip,
    lightnorm_normalize,
    quantize,
    quantize_reference,
    relu,
)
from flexc.numerics.acceleration import VARIABLE, use_compiled
from flexc.numerics.lightnorm_reference import lightnorm_normalize_reference

Array = NDArray[np.float32]
Shape = tuple[int, ...]
pytestmark = pytest.mark.usefixtures("engine")


def spread(shape: Shape, seed: int, exponents: int = 12) -> Array:
    """Values of many exponents, with zeros of both signs, subnormals and repeated values among them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * 2.0 ** random.integers(-exponents, exponents + 1, shape)
    special = random.choice([0.0, -0.0, 1e-40, 1.5, -1.5, 2.0**-14, -(2.0**-14) * 0.999, 65535.0], shape)
    return np.where(random.random(shape) < 0.2, special, x).astype(np.float32)


def channels_last(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "channels_first": np.ascontiguousarray,
    "channels_last": channels_last,
}


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return found.shape == expected.shape and found.tobytes() == expected.tobytes()


def test_the_engine_is_the_one_asked_for(engine: str) -> None:
    assert use_compiled() == (engine == "compiled")


def wide_lines(mantissa_bits: int) -> Array:
    """Groups just below 2^p units, groups of zeros, and lines longer than a kernel takes at once."""
    x = spread((2, 16, 3, 400), mantissa_bits)
    x[0, :4] = np.float32(2 - 2.0**-23)
    x[1, 3:9, 2] = -np.float32(4 - 2.0**-12)
    x[1, 10:, 1:] = 0
    return x


@cache
def quantized_by_the_text(mantissa_bits: int, tile: Shape) -> BlockTensor:
    return quantize_reference(wide_lines(mantissa_bits), mantissa_bits=mantissa_bits, tile=tile)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tile", [(1, 5, 1, 1), (1, 16, 1, 1), (2, 1, 1, 1), (1, 1, 3, 2), (1, 1, 3, 400)])
@pytest.mark.parametrize("mantissa_bits", [2, 8, 16])
def test_quantize(mantissa_bits: int, tile: Shape, layout: str) -> None:
    found = quantize(LAYOUTS[layout](wide_lines(mantissa_bits)), mantissa_bits=mantissa_bits, tile=tile)
    expected = quantized_by_the_text(mantissa_bits, tile)
    assert same(found.exponent, expected.exponent)
    assert same(found.values, expected.values)
    assert same(found.mantissa, expected.mantissa)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [-120, -100, 100, 115])
def test_quantize_at_the_ends_of_the_range(scale: int, layout: str) -> None:
    x = LAYOUTS[layout](np.ldexp(spread((2, 9, 4, 5), 3, exponents=3), scale - 16))
    found = quantize(x, mantissa_bits=8, tile=(1, 4, 1, 1))
    expected = quantize_reference(x, mantissa_bits=8, tile=(1, 4, 1, 1))
    assert same(found.exponent, expected.exponent)
    assert same(found.values, expected.values)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (1, 4, 40, 41), (3, 64, 9), (5, 12), (2, 6, 3, 3)])
def test_lightnorm(shape: Shape, layout: str, rounding: str) -> None:
    x = LAYOUTS[layout](spread(shape, 1))
    constants = list(spread((4, shape[1]), 2, exponents=2))
    constants[3][::3] = 0
    found = lightnorm_normalize(x, *constants, rounding=rounding)
    assert same(found, lightnorm_normalize_reference(x, *constants, rounding=rounding))
    assert found.strides == x.strides


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_non_finite_values_are_located(bad: float, layout: str) -> None:
    x = np.ones((2, 8, 3, 3), np.float32)
    x[1, 2, 0, 1] = x[1, 5, 0, 0] = bad
    x = LAYOUTS[layout](x)
    one = np.ones(8, np.float32)
    for call in (
        partial(quantize, x, mantissa_bits=8, tile=(1, 4, 1, 1)),
        partial(lightnorm_normalize, x, one, one, one, one),
    ):
        with pytest.raises(NonFiniteError) as error:
            call()
        assert error.value.index == (1, 2, 0, 1)


CONVOLUTIONS: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "1x1": ((2, 6, 5, 7), (37, 6, 1, 1), {}),
    "more rows than a block": ((1, 2, 19, 16), (3, 2, 1, 1), {}),
    "3x3": ((1, 9, 3, 4), (5, 9, 3, 3), {"pads": (1, 1, 1, 1)}),
    "strided": ((2, 7, 6, 7), (3, 7, 3, 2), {"stride": (2, 3), "pads": (2, 0, 1, 1)}),
    "dilated": ((1, 6, 7, 9), (4, 6, 3, 3), {"dilation": (2, 3), "pads": (1, 2, 3, 1)}),
    "groups": ((1, 6, 4, 3), (8, 3, 3, 3), {"group": 2, "pads": (1, 1, 1, 1)}),
    "depthwise": ((2, 10, 3, 4), (10, 1, 3, 3), {"group": 10, "pads": (1, 2, 0, 1)}),
    "depthwise, strided": ((1, 6, 9, 11), (6, 1, 3, 3), {"group": 6, "stride": (2, 3), "pads": (1, 1, 1, 1)}),
    "depthwise, dilated": (
        (1, 5, 9, 9),
        (5, 1, 3, 2),
        {"group": 5, "dilation": (3, 2), "pads": (4, 4, 4, 4)},
    ),
    "depthwise, multiplied": ((1, 3, 5, 5), (9, 1, 3, 3), {"group": 3, "pads": (1, 1, 1, 1)}),
    "a line": ((2, 7, 9), (8, 7, 5), {"pads": (2, 2)}),
    "a depthwise line": ((2, 7, 9), (7, 1, 5), {"group": 7, "stride": (2,), "pads": (3, 0)}),
    "a volume": ((1, 4, 3, 4, 3), (3, 4, 2, 3, 1), {"pads": (1, 0, 0, 0, 1, 0)}),
    "a depthwise volume": ((1, 4, 3, 3, 4), (4, 1, 3, 2, 3), {"group": 4, "pads": (1,) * 6}),
}


@dataclass(frozen=True)
class Convolution:
    """Operands and attributes of a case."""

    x: BlockTensor
    w: BlockTensor
    bias: Array | None
    options: dict[str, Any]

    @classmethod
    def of(cls, name: str, mantissa_bits: int, with_bias: bool) -> Convolution:
        x_shape, w_shape, attributes = CONVOLUTIONS[name]
        ones = (1,) * (len(x_shape) - 2)
        w_tile = w_shape[1:] if w_shape[1] == 1 else (4, *ones)
        return cls(
            quantize(channels_last(spread(x_shape, 1)), mantissa_bits=mantissa_bits, tile=(1, 5, *ones)),
            quantize(spread(w_shape, 2), mantissa_bits=mantissa_bits, tile=(1, *w_tile)),
            spread(w_shape[:1], 3) if with_bias else None,
            {"stride": ones, "pads": (0, 0) * len(ones), "dilation": ones, "group": 1} | attributes,
        )


@cache
def convolved_by_the_text(name: str, mantissa_bits: int, with_bias: bool) -> Array:
    case = Convolution.of(name, mantissa_bits, with_bias)
    return block_conv_reference(case.x, case.w, case.bias, **case.options)


@pytest.mark.parametrize(("mantissa_bits", "with_bias"), [(4, True), (8, False), (16, True)])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, mantissa_bits: int, with_bias: bool) -> None:
    case = Convolution.of(name, mantissa_bits, with_bias)
    found = block_conv(case.x, case.w, case.bias, **case.options)
    assert same(found, convolved_by_the_text(name, mantissa_bits, with_bias))


@pytest.mark.parametrize("shapes", [((1, 70), (70, 50)), ((19, 20), (20, 33)), ((2, 3, 4, 20), (20, 6))])
@pytest.mark.parametrize("mantissa_bits", [4, 8, 16, 24])
def test_matmul(mantissa_bits: int, shapes: tuple[Shape, Shape]) -> None:
    def operand(shape: Shape, axis: int) -> BlockTensor:
        tile = [1] * len(shape)
        tile[axis] = 9
        return quantize(spread(shape, axis), mantissa_bits=mantissa_bits, tile=tile)

    a, b = operand(shapes[0], len(shapes[0]) - 1), operand(shapes[1], 0)
    bias = spread(shapes[1][1:], 5)
    assert same(block_matmul(a, b, bias), block_matmul_reference(a, b, bias))


def test_overflowing_sums_are_located() -> None:
    x = quantize(np.full((1, 4, 2, 2), 2.0**90, np.float32), mantissa_bits=8, tile=(1, 4, 1, 1))
    for w_shape, group in (((3, 4, 1, 1), 1), ((4, 1, 1, 1), 4)):
        w = quantize(np.full(w_shape, 2.0**90, np.float32), mantissa_bits=8, tile=(1, 4, 1, 1))
        with pytest.raises(NonFiniteError) as error:
            block_conv(x, w, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), group=group)
        assert error.value.index == (0, 0, 0, 0)


@pytest.mark.parametrize("bounds", [(0.0, None), (-1.5, 1.5), (None, -0.0), (2.0, 1.0), (None, None)])
def test_bounds(bounds: tuple[float | None, float | None]) -> None:
    x = spread((3, 5, 7), 4)
    x[0, 0, :3] = [np.nan, np.inf, -np.inf]
    least, largest = bounds
    cut = x if least is None else np.where(x < least, np.float32(least), x)
    cut = cut if largest is None else np.where(cut > largest, np.float32(largest), cut)
    cut = np.where(cut == 0, np.float32(0), cut)
    assert same(clip(x, minimum=least, maximum=largest), cut)
    if bounds == (0.0, None):
        assert same(relu(x), cut)


def test_a_product_and_a_sum_are_rounded_twice(engine: str) -> None:
    """(1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 when fused, and 0 when not."""
    if engine == "numpy":
        pytest.skip("of compiled kernels")
    from flexc.numerics.compiled.jit import kernel

    def multiply_and_add(a: Any, b: Any, c: Any, result: Any) -> None:
        for i in range(a.size):
            result[i] = a[i] * b[i] + c[i]

    a = np.full(100, 1 + 2.0**-12, np.float32)
    result = np.empty_like(a)
    kernel(multiply_and_add)(a, a, np.full(100, -(1 + 2.0**-11), np.float32), result)
    assert not result.any()


def test_kernels_work_where_they_cannot_be_kept(engine: str) -> None:
    if engine == "numpy":
        pytest.skip("of compiled kernels")
    from flexc.numerics.compiled.jit import kernel

    namespace: dict[str, Any] = {}
    exec("def twice(x): return x + x", namespace)
    assert kernel(namespace["twice"])(2.0) == 4.0


LAZY = """
import sys
import numpy as np
from flexc.numerics import quantize
assert "numba" not in sys.modules
quantize(np.ones((4, 4), np.float32), mantissa_bits=8, tile=(1, 4))
print("numba" in sys.modules)
"""


def test_numba_is_imported_by_the_first_kernel(engine: str) -> None:
    environment = os.environ | {VARIABLE: "1" if engine == "numpy" else "0"}
    run = subprocess.run(
        [sys.executable, "-c", LAZY], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(engine == "compiled")
