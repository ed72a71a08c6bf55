"""Special values of the elementwise functions: zeros, infinities, NaN, overflow, subnormals."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    absolute,
    clip,
    erf,
    exp,
    floor,
    gelu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    log,
    neg,
    power,
    reciprocal,
    relu,
    sigmoid,
    sqrt,
    tanh,
)

pytestmark = pytest.mark.usefixtures("engine")

Float32Array = NDArray[np.float32]
Function = Callable[[Float32Array], Float32Array]
INF, NAN = math.inf, math.nan
TINY = 2.0**-149


def bits(*values: float) -> list[str]:
    """Values as hexadecimal words, NaN as one word: +0 and -0 differ."""
    words = np.array(values, np.float32).view(np.uint32)
    return ["nan" if math.isnan(v) else f"{w:08x}" for v, w in zip(values, words, strict=True)]


CASES: list[tuple[Function, list[float], list[float]]] = [
    (
        exp,
        [0.0, -0.0, INF, -INF, NAN, 89.0, 88.72284, -104.0, -103.9],
        [1, 1, INF, 0, NAN, INF, INF, 0, TINY],
    ),
    (exp, [88.72283], [3.4027985e38]),
    (log, [0.0, -0.0, 1.0, INF, -INF, -1.0, -1e-40, NAN], [-INF, -INF, 0.0, INF, NAN, NAN, NAN, NAN]),
    (log, [TINY], [-103.27893]),
    (tanh, [0.0, -0.0, INF, -INF, NAN, 20.0, TINY, -TINY], [0.0, -0.0, 1, -1, NAN, 1, TINY, -TINY]),
    (erf, [0.0, -0.0, INF, -INF, NAN, 4.0, TINY, -TINY], [0.0, -0.0, 1, -1, NAN, 1, TINY, -TINY]),
    (sigmoid, [0.0, -0.0, INF, -INF, NAN, 20.0, -104.0], [0.5, 0.5, 1, 0.0, NAN, 1, 0.0]),
    (
        gelu,
        [0.0, -0.0, INF, -INF, NAN, 20.0, -20.0, 3e38, -3e38],
        [0.0, -0.0, INF, -0.0, NAN, 20, -0.0, 3e38, -0.0],
    ),
    (
        partial(gelu, approximate="tanh"),
        [0.0, -0.0, INF, -INF, NAN, 20.0, -20.0, 3e38, -3e38],
        [0.0, -0.0, INF, -0.0, NAN, 20, -0.0, 3e38, -0.0],
    ),
    (relu, [0.0, -0.0, -1.0, 2.0, INF, -INF, NAN, -TINY], [0.0, 0.0, 0.0, 2, INF, 0.0, NAN, 0.0]),
    (leaky_relu, [0.0, -0.0, -100.0, 2.0, -INF, NAN, -TINY], [0.0, 0.0, -1.0, 2, -INF, NAN, 0.0]),
    (partial(clip, minimum=0.0, maximum=6.0), [-0.0, 0.0, 7.0, -INF, NAN], [0.0, 0.0, 6, 0.0, NAN]),
    (partial(clip, minimum=-1.0), [-0.0, -2.0, INF], [0.0, -1.0, INF]),
    (partial(clip, maximum=-0.0), [-0.0, 1.0, -2.0], [0.0, 0.0, -2.0]),
    (clip, [-0.0, NAN, -INF], [0.0, NAN, -INF]),
    (hard_sigmoid, [-2.5, -INF, INF, NAN, 0.0, -3.0], [0.0, 0.0, 1.0, NAN, 0.5, 0.0]),
    (hard_swish, [-3.0, 3.0, 0.0, NAN, INF, -4.0], [-0.0, 3.0, 0.0, NAN, INF, -0.0]),
    (sqrt, [0.0, -0.0, 4.0, INF, -1.0, NAN], [0.0, -0.0, 2, INF, NAN, NAN]),
    (reciprocal, [0.0, -0.0, INF, -INF, 3.0, NAN], [INF, -INF, 0.0, -0.0, 0.33333334, NAN]),
    (floor, [-0.0, 0.5, -0.5, INF, NAN, -TINY], [-0.0, 0.0, -1.0, INF, NAN, -1.0]),
    (neg, [0.0, -0.0, INF, 1.5], [-0.0, 0.0, -INF, -1.5]),
    (absolute, [-0.0, -INF, -1.5, NAN], [0.0, INF, 1.5, NAN]),
]


@pytest.mark.parametrize(("function", "arguments", "expected"), CASES)
def test_special_values(function: Function, arguments: list[float], expected: list[float]) -> None:
    assert bits(*function(np.array(arguments, np.float32)).tolist()) == bits(*expected)


def c_pow(x: float, y: float) -> float:
    """C's pow for every argument: Python raises where C returns infinity or NaN."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -INF if x < 0 and y % 2 == 1 else INF
    except ValueError:
        if x != 0:
            return NAN
        return math.copysign(INF, x) if math.isfinite(y) and y % 2 == 1 else INF


def test_special_values_of_power_are_those_of_c() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 1e30, 16777215.0, 16777216.0, 4194303.5, 1 - 2.0**-24, TINY, INF]
    values += [-v for v in values] + [NAN]
    with np.errstate(over="ignore"):
        for x in values:
            for y in values:
                got = power(np.array([x], np.float32), np.array([y], np.float32))
                exact = np.float32(c_pow(x, y))
                if 0 < abs(float(exact)) < INF:
                    np.testing.assert_array_max_ulp(got, exact.reshape(1), 2)
                else:
                    assert bits(float(got[0])) == bits(float(exact)), f"{x} ** {y}"


def test_a_square_is_rounded_once() -> None:
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    two = np.array(2.0, np.float32)
    assert power(x, two).tobytes() == (x * x).tobytes()
    mixed = power(x[:, None], np.array([2.0, 3.0], np.float32))
    assert mixed[:, 0].tobytes() == (x * x).tobytes()


def test_broadcast_and_order_of_memory() -> None:
    x = np.asfortranarray(np.linspace(0.1, 2, 24, dtype=np.float32).reshape(2, 3, 4))
    assert exp(x).flags.f_contiguous
    assert exp(x).tobytes() == exp(np.ascontiguousarray(x)).tobytes()
    exponent = np.array([[1.5], [2.0], [-1.0]], np.float32)
    full = np.broadcast_to(exponent, x.shape).copy()
    assert power(x, exponent).tobytes() == power(x, full).tobytes()
    assert power(exponent, x).shape == x.shape
    assert exp(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert exp(np.zeros((), np.float32)).shape == ()


@pytest.mark.parametrize("function", [exp, log, tanh, erf, sigmoid, gelu, relu, clip, sqrt])
def test_other_types_are_refused(function: Function) -> None:
    with pytest.raises(TypeError, match="expected float32, got float64"):
        function(np.zeros(3))  # type: ignore[arg-type]
