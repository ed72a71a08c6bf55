"""docs/numerics.md, section 3.2, followed to the letter, one value and one operation at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from flexc import numerics

F = np.float32
Value = np.float32
Pair = tuple[np.float32, np.float32]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "numerics.md").read_text()


def constants(name: str) -> tuple[Value, ...]:
    """The coefficients that the document lists under a name."""
    listed = re.search(rf"\b{name}`? = \(([^)]*)\)", DOCUMENT)
    assert listed is not None, name
    return tuple(F(float(number)) for number in listed[1].split(","))


E, L, T, N, M, Q, G = (constants(name) for name in "ELTNMQG")
LN2_HI, LN2_LO = F(0.693359375), F(-2.12194442e-4)
ONE, TWO, HALF, ZERO = F(1.0), F(2.0), F(0.5), F(0.0)


def horner(c: Sequence[Value], z: Value) -> Value:
    t = z * c[-1]
    for coefficient in c[-2:0:-1]:
        t = (t + coefficient) * z
    return t + c[0]


def scale(y: Value, n: int) -> Value:
    h = n // 2
    return (y * F(2.0**h)) * F(2.0 ** (n - h))


def multiple(x: Value) -> Value:
    return (x * F(1.44269504) + F(12582912.0)) - F(12582912.0)


def parts(x: Value) -> tuple[Value, int]:
    n = multiple(x)
    r = (x - n * LN2_HI) - n * LN2_LO
    return (horner(E, r) * r) * r + r, int(n)


def split(x: Value) -> tuple[Value, Value]:
    subnormal = x < F(2.0**-126)
    b = int((x * F(2.0**23) if subnormal else x).view(np.int32)) + 0x3F800000 - 0x3F3504F3
    m = np.int32((b & 0x7FFFFF) + 0x3F3504F3).view(F)
    return F((b >> 23) - 127 - (23 if subnormal else 0)), m - ONE


def exp(x: Value) -> Value:
    w, n = parts(min(max(x, F(-104.0)), F(89.0)))
    return scale(w + ONE, n)


def log(x: Value) -> Value:
    k, f = split(x)
    s = f / (f + TWO)
    z = s * s
    t = horner(L, z) * z
    h = (f * HALF) * f
    t = (t + h) * s
    t = t + k * LN2_LO
    t = t - h
    t = t + f
    return t + k * LN2_HI


def tanh(x: Value) -> Value:
    a = F(abs(x))
    z = a * a
    result = (horner(T, z) * z) * a + a if a < F(0.625) else ONE - TWO / (exp(a + a) + ONE)
    return F(np.copysign(result, x))


def erf(x: Value) -> Value:
    a = F(abs(x))
    b = min(a, F(4.0))
    result = horner(N, a * a) * a + a if a < F(0.875) else ONE - exp(horner(M, b) * b)
    return F(np.copysign(result, x))


def sigmoid(x: Value) -> Value:
    w, n = parts(max(-F(abs(x)), F(-104.0)))
    v = w + ONE
    c = (w - (v - ONE)) / v
    t = scale(v, n)
    d = t + ONE
    e = (t - (d - ONE)) / d
    if x < ZERO:
        q = t / d
        return q + (c - e) * q
    q = ONE / d
    return q + (ZERO - e) * q


def two_sum(a: Value, b: Value) -> Pair:
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def fast_two_sum(a: Value, b: Value) -> Pair:
    s = a + b
    return s, b - (s - a)


def two_product(a: Value, b: Value) -> Pair:
    p = a * b
    (a1, a2), (b1, b2) = (halves(a), halves(b))
    return p, (((a1 * b1 - p) + a1 * b2) + a2 * b1) + a2 * b2


def halves(a: Value) -> Pair:
    t = F(4097.0) * a
    a1 = t - (t - a)
    return a1, a - a1


def pair_mul(a: Pair, b: Pair) -> Pair:
    p, e = two_product(a[0], b[0])
    return fast_two_sum(p, e + (a[0] * b[1] + a[1] * b[0]))


def pair_div(a: Pair, b: Pair) -> Pair:
    q = a[0] / b[0]
    p, e = two_product(q, b[0])
    return q, (((a[0] - p) - e) + (a[1] - q * b[1])) / b[0]


def pair_exp(a: Pair) -> tuple[Pair, int]:
    n = multiple(a[0])
    y = a[0] - n * LN2_HI
    g = n * LN2_LO
    r = y - g
    r, r_lo = fast_two_sum(r, ((y - r) - g) + a[1])
    t = (horner(E, r) * r) * r
    t = t + r_lo
    t = t + r_lo * r
    m, e = fast_two_sum(ONE, r)
    return fast_two_sum(m, e + t), int(n)


def pair_log(x: Value) -> Pair:
    k, f = split(x)
    s = pair_div((f, ZERO), fast_two_sum(TWO, f))
    z = pair_mul(s, s)
    c = fast_two_sum(F(0.666666687), z[0] * horner(Q, z[0]) + F(-1.98682149e-08))
    y = pair_mul(z, c)
    a, e = fast_two_sum(TWO, y[0])
    g = pair_mul(s, (a, e + y[1]))
    t, e = two_sum(k * LN2_HI, g[0])
    return fast_two_sum(t, e + (k * LN2_LO + g[1]))


def power(x: Value, y: Value) -> Value:
    """For finite x other than 0 and a finite y."""
    if y == TWO:
        return x * x
    if y == ZERO or x == ONE:
        return ONE
    if x < ZERO and y != math.floor(y):
        return F(np.nan)
    log_x = pair_log(F(abs(x)))
    cut = min(max(y, F(-(2.0**32))), F(2.0**32))
    p, e = two_product(cut, log_x[0])
    p, e = fast_two_sum(p, e + cut * log_x[1])
    if not abs(p) < F(120.0):
        e = ZERO
        p = min(max(p, F(-120.0)), F(120.0))
    m, n = pair_exp((p, e))
    result = scale(m[0], n)
    return -result if x < ZERO and y % 2 == 1 else result


def gelu(x: Value) -> Value:
    t = min(F(abs(x)), F(14.5))
    a, b = two_product(t, t)
    m, n = pair_exp((a * F(-0.5), b * F(-0.5)))
    d = two_sum(TWO, t)
    u = (t - TWO) / d[0]
    g, e = fast_two_sum(F(0.672408), u * horner(G, u))
    v = pair_mul(m, pair_div((g, e + F(1.9966096e-08)), d))
    c = F(np.copysign(t, x))
    if x < ZERO:
        return scale(c * v[0] + c * v[1], n)
    f, f_lo = fast_two_sum(ONE, -scale(v[0], n))
    f_lo = f_lo - scale(v[1], n)
    return x * f + c * f_lo


def gelu_tanh(x: Value) -> Value:
    t = min(F(abs(x)), F(11.0))
    q = pair_mul((F(0.0713548139), F(2.39883247e-09)), two_product(t, t))
    a, e = two_sum(F(1.59576917), q[0])
    z = pair_mul((t, ZERO), (a, e + (q[1] + F(-4.53406812e-08))))
    m, n = pair_exp((-z[0], -z[1]))
    d = fast_two_sum(ONE, scale(m[0], n))
    c = F(np.copysign(t, x))
    if x < ZERO:
        v = pair_div(m, d)
        return scale(c * v[0] + c * v[1], n)
    v = pair_div((ONE, ZERO), d)
    return x * v[0] + c * v[1]


def arguments() -> list[Value]:
    """Every other exponent up to 2**20 at two fractions, and where the functions bend."""
    fields = np.arange(0, 147, 2, dtype=np.uint32) << np.uint32(23)
    patterns = (fields[:, None] | np.array([0x1, 0x5A1B2C], np.uint32)).ravel()
    bends = np.random.default_rng(8).uniform(-15, 15, 150).astype(np.float32)
    tails = np.random.default_rng(9).uniform(-105, 90, 60).astype(np.float32)
    return [*np.concatenate([patterns.view(np.float32), -patterns.view(np.float32), bends, tails])]


TWINS: dict[str, tuple[Callable[[Value], Value], Callable[..., np.typing.NDArray[np.float32]]]] = {
    "exp": (exp, numerics.exp),
    "tanh": (tanh, numerics.tanh),
    "erf": (erf, numerics.erf),
    "sigmoid": (sigmoid, numerics.sigmoid),
    "gelu": (gelu, numerics.gelu),
    "gelu_tanh": (gelu_tanh, partial(numerics.gelu, approximate="tanh")),
    "log": (log, numerics.log),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_kernel_follows_the_text(name: str) -> None:
    by_the_text, kernel = TWINS[name]
    x = np.array([value for value in arguments() if name != "log" or value > 0])
    with np.errstate(all="ignore"):
        expected = np.array([by_the_text(value) for value in x])
    differ = np.flatnonzero(kernel(x).view(np.uint32) != expected.view(np.uint32))
    assert differ.size == 0, (
        f"{name}({x[differ[0]]!r}) is {kernel(x)[differ[0]]!r}, not {expected[differ[0]]!r}"
    )


def test_power_follows_the_text() -> None:
    x = np.repeat(np.array([1e-40, 3e-5, 0.3, 0.999, 1.0, 1.0001, 2.5, 9e30, -1.7], np.float32), 40)
    y = np.random.default_rng(1).uniform(-40, 40, x.size).astype(np.float32)
    y[::5] = np.round(y[::5])
    y[:8] = [2.0, 0.0, 1e10, -1e10, 0.5, 1.0, 3e-39, -0.0]
    with np.errstate(all="ignore"):
        expected = np.array([power(a, b) for a, b in zip(x, y, strict=True)])
    assert np.array_equal(np.isnan(expected), np.isnan(numerics.power(x, y)))
    finite = ~np.isnan(expected)
    assert numerics.power(x, y)[finite].tobytes() == expected[finite].tobytes()
