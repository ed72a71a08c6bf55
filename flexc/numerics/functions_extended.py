"""Double-float arithmetic: a value held as the unevaluated sum of two fp32, the second below the rounding of
the first. Used where one fp32 cannot carry an argument to the 2 ulp that its function promises.

The error-free transformations are Knuth's two-sum and Dekker's fast two-sum and product (with Veltkamp's
splitting); they hold for rounding to nearest while nothing over- or underflows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array
from flexc.numerics.functions import (
    EXP_COEFFICIENTS,
    LN2_HI,
    LN2_LO,
    horner,
    nearest_multiple_of_ln2,
    split_exponent,
)

F = np.float32
Pair = tuple[Float32Array, Float32Array]

_ZERO, _ONE, _TWO = np.array(0.0, F), np.array(1.0, F), np.array(2.0, F)
_SPLITTER = F(4097.0)
_TWO_THIRDS = (np.array(0.666666687, F), np.array(-1.98682149e-08, F))
_LOG_TAIL = (F(0.399999976), F(0.285719723), F(0.221797287), F(0.19556424))


def two_sum(a: Float32Array, b: Float32Array) -> Pair:
    """a + b exactly: the rounded sum and its error."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def fast_two_sum(a: Float32Array, b: Float32Array) -> Pair:
    """:func:`two_sum` for |a| >= |b|."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Float32Array, b: Float32Array) -> Pair:
    """a * b exactly: the rounded product and its error."""
    product = a * b
    a_hi, a_lo = _split(a)
    b_hi, b_lo = _split(b)
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def multiply_pairs(a: Pair, b: Pair) -> Pair:
    """The product of two pairs, to about 2**-45 of itself."""
    product, error = two_product(a[0], b[0])
    crossed: Float32Array = a[0] * b[1] + a[1] * b[0]
    return fast_two_sum(product, error + crossed)


def divide_pairs(a: Pair, b: Pair) -> Pair:
    """The quotient of two pairs, to about 2**-44 of itself; its low part may exceed half an ulp."""
    quotient: Float32Array = a[0] / b[0]
    product, error = two_product(quotient, b[0])
    residual: Float32Array = ((a[0] - product) - error) + (a[1] - quotient * b[1])
    return quotient, residual / b[0]


def round_product(x: Float32Array, pair: Pair) -> Float32Array:
    """x times a pair as one fp32, to about 1 ulp: x * hi + x * lo."""
    product: Float32Array = x * pair[0]
    product += x * pair[1]
    return product


def exp_extended(x: Pair) -> tuple[Float32Array, Float32Array, NDArray[np.int32]]:
    """(m, m_lo, n) with exp(x_hi + x_lo) = (m + m_lo) * 2**n to about 2**-27, for |x_hi| <= 160."""
    hi, lo = x
    n = nearest_multiple_of_ln2(hi)
    exact = hi - n * LN2_HI
    low_product = n * LN2_LO
    r = exact - low_product
    r, r_lo = fast_two_sum(r, ((exact - r) - low_product) + lo)
    tail = horner(EXP_COEFFICIENTS, r)
    tail *= r
    tail *= r
    tail += r_lo
    tail += r_lo * r
    m, error = fast_two_sum(_ONE, r)
    m, m_lo = fast_two_sum(m, error + tail)
    return m, m_lo, n.astype(np.int32)


def log_extended(x: Float32Array) -> Pair:
    """The natural logarithm of positive finite x as a pair, to about 2**-34 of itself."""
    k, f = split_exponent(x)
    divisor, divisor_lo = fast_two_sum(_TWO, f)
    s = divide_pairs((f, _ZERO), (divisor, divisor_lo))
    z = multiply_pairs(s, s)
    c = fast_two_sum(_TWO_THIRDS[0], z[0] * horner(_LOG_TAIL, z[0]) + _TWO_THIRDS[1])
    series = multiply_pairs(z, c)
    factor, error = fast_two_sum(_TWO, series[0])
    log_m = multiply_pairs(s, (factor, error + series[1]))
    total, error = two_sum(k * LN2_HI, log_m[0])
    return fast_two_sum(total, error + (k * LN2_LO + log_m[1]))


def _split(a: Float32Array) -> tuple[Float32Array, Float32Array]:
    scaled = _SPLITTER * a
    hi = scaled - (scaled - a)
    return hi, a - hi
