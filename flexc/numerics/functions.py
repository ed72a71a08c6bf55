"""exp, log, tanh, erf and sigmoid as fixed sequences of fp32 operations (numerics specification, section 3).

Every step is one IEEE operation on fp32 or an integer operation on its bits; products and sums are never
fused. Each function is within 2 ulp of the correctly rounded result on the whole of fp32, subnormal results
included. Polynomials are evaluated by Horner's rule; their coefficients are minimax fits, rounded one by one
from the lowest power. The decimal constants denote the nearest fp32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array, map_blocks, select

F = np.float32

ONE_AND_A_HALF_2_23 = F(12582912.0)
"""Adding and subtracting it rounds a small fp32 to an integer, ties to even."""
LOG2_E = F(1.44269504)
LN2_HI = F(0.693359375)
"""ln 2 to 9 significant bits: a product with an integer of up to 15 bits is exact."""
LN2_LO = F(-2.12194442e-4)

EXP_LOWEST, EXP_HIGHEST = F(-104.0), F(89.0)
EXP_COEFFICIENTS = (F(0.49999994), F(0.166665211), F(0.0416682735), F(0.00836868584), F(0.00138201355))
LOG_COEFFICIENTS = (F(0.666666627), F(0.400009722), F(0.284987926), F(0.242788315))
_SMALLEST_NORMAL = F(1.17549435e-38)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_ONE_BITS = np.int32(0x3F800000)
_FRACTION_MASK = np.int32(0x007FFFFF)
TANH_SPLIT = F(0.625)
TANH_COEFFICIENTS = (F(-0.333332837), F(0.133314848), F(-0.0537430048), F(0.0206491072), F(-0.00571550895))
ERF_SPLIT = F(0.875)
ERF_NEAR = (
    F(0.128379166),
    F(-0.376126289),
    F(0.112836227),
    F(-0.0268553607),
    F(0.00519090705),
    F(-0.00080255745),
    F(7.86151577e-05),
)
ERF_FAR = (
    F(-1.1285255),
    F(-0.635680377),
    F(-0.105312183),
    F(0.0229224581),
    F(-0.00322515378),
    F(0.000215229666),
)


def exp(x: Float32Array) -> Float32Array:
    """e**x. exp(-inf) = +0, exp(inf) = inf, NaN stays NaN; overflows to inf, underflows gradually to +0."""
    return map_blocks("exp", exp_block, x)


def log(x: Float32Array) -> Float32Array:
    """The natural logarithm. log(+-0) = -inf, log(inf) = inf, log(1) = +0; NaN below zero."""
    return map_blocks("log", log_block, x)


def tanh(x: Float32Array) -> Float32Array:
    """The hyperbolic tangent: odd (tanh(-0) = -0), +-1 at +-inf, NaN stays NaN."""
    return map_blocks("tanh", tanh_block, x)


def erf(x: Float32Array) -> Float32Array:
    """The error function: odd (erf(-0) = -0), +-1 at +-inf, NaN stays NaN."""
    return map_blocks("erf", erf_block, x)


def sigmoid(x: Float32Array) -> Float32Array:
    """1 / (1 + e**-x), without cancellation in either tail. +0 at -inf, 1 at inf, NaN stays NaN."""
    return map_blocks("sigmoid", sigmoid_block, x)


def horner(coefficients: tuple[np.float32, ...], z: Float32Array) -> Float32Array:
    """c_0 + z * (c_1 + z * (...)), from the inside out, each product and each sum rounded."""
    result = z * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        result += coefficient
        result *= z
    result += coefficients[0]
    return result


def power_of_two(n: NDArray[np.int32]) -> Float32Array:
    """2**n for -126 <= n <= 127, by writing the exponent field."""
    return ((n + np.int32(127)) << np.int32(23)).view(np.float32)


def scale_by_power_of_two(y: Float32Array, n: NDArray[np.int32]) -> Float32Array:
    """y * 2**n for -252 <= n <= 254, overwriting y: two products, of which only the second can round.

    That holds while y * 2**(n // 2) is a normal number or y * 2**n is exact.
    """
    half = n >> np.int32(1)
    y *= power_of_two(half)
    y *= power_of_two(n - half)
    return y


def nearest_multiple_of_ln2(x: Float32Array) -> Float32Array:
    """The integer next to x / ln 2 for |x| < 2**21 ln 2, ties to even on the rounded quotient."""
    n = x * LOG2_E
    n += ONE_AND_A_HALF_2_23
    n -= ONE_AND_A_HALF_2_23
    return n


def split_exponent(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """(k, f) with x = 2**k (1 + f) exactly and 1 + f in [sqrt(1/2), sqrt(2)), for positive finite x."""
    subnormal = x < _SMALLEST_NORMAL
    any_subnormal = bool(subnormal.any())
    if any_subnormal:
        x = np.where(subnormal, x * F(8388608.0), x)
    bits = x.view(np.int32) + (_ONE_BITS - _SQRT_HALF_BITS)
    k = ((bits >> np.int32(23)) - np.int32(127)).astype(np.float32)
    if any_subnormal:
        k -= np.where(subnormal, F(23.0), F(0.0))
    bits &= _FRACTION_MASK
    bits += _SQRT_HALF_BITS
    return k, bits.view(np.float32) - F(1.0)


def exp_parts(x: Float32Array) -> tuple[Float32Array, NDArray[np.int32]]:
    """(w, n) with e**x = (1 + w) 2**n for -104 <= x <= 89; overwrites x.

    x = n ln 2 + r with |r| <= ln 2 / 2, and w = r + r**2 P(r). Of a NaN, w is NaN and n means nothing.
    """
    n = nearest_multiple_of_ln2(x)
    r = x
    r -= n * LN2_HI
    r -= n * LN2_LO
    w = horner(EXP_COEFFICIENTS, r)
    w *= r
    w *= r
    w += r
    return w, n.astype(np.int32)


def exp_block(x: Float32Array) -> Float32Array:
    """exp: x cut to [-104, 89], where the result is +0 or inf already; then (1 + w) 2**n."""
    bounded = np.maximum(x, EXP_LOWEST)
    np.minimum(bounded, EXP_HIGHEST, out=bounded)
    y, n = exp_parts(bounded)
    y += F(1.0)
    return scale_by_power_of_two(y, n)


def log_block(x: Float32Array) -> Float32Array:
    """log: x = 2**k m, m in [sqrt(1/2), sqrt(2)); f = m - 1, s = f / (2 + f), then the series in s**2."""
    k, f = split_exponent(x)
    s = f / (f + F(2.0))
    z = s * s
    series = horner(LOG_COEFFICIENTS, z)
    series *= z
    half_square = f * F(0.5)
    half_square *= f
    series += half_square
    series *= s
    series += k * LN2_LO
    series -= half_square
    series += f
    series += k * LN2_HI
    special = ~(x > F(0.0)) | (x == F(np.inf))
    if special.any():
        limits = np.where(x == F(0.0), F(-np.inf), np.where(x == F(np.inf), F(np.inf), F(np.nan)))
        np.copyto(series, limits, where=special)
    return series


def tanh_block(x: Float32Array) -> Float32Array:
    """tanh: a + a**3 P(a**2) for a = |x| < 0.625, otherwise 1 - 2 / (exp(2a) + 1); the sign put back."""
    a = np.abs(x)
    z = a * a
    near = horner(TANH_COEFFICIENTS, z)
    near *= z
    near *= a
    near += a
    far = exp_block(a + a)
    far += F(1.0)
    far = F(2.0) / far
    far = F(1.0) - far
    return np.copysign(select(a < TANH_SPLIT, near, far), x)


def erf_block(x: Float32Array) -> Float32Array:
    """erf: a + a P(a**2) for a = |x| < 0.875, otherwise 1 - exp(a Q(a)), a cut to 4; the sign put back."""
    a = np.abs(x)
    near = horner(ERF_NEAR, a * a)
    near *= a
    near += a
    cut = np.minimum(a, F(4.0))
    far = horner(ERF_FAR, cut)
    far *= cut
    far = F(1.0) - exp_block(far)
    return np.copysign(select(a < ERF_SPLIT, near, far), x)


def sigmoid_block(x: Float32Array) -> Float32Array:
    """sigmoid: with t = exp(-|x|), t / (1 + t) below zero and 1 / (1 + t) from zero on.

    The quotient is corrected once by what the roundings of 1 + w (inside t) and of 1 + t left out.
    """
    bounded = -np.abs(x)
    np.maximum(bounded, EXP_LOWEST, out=bounded)
    w, n = exp_parts(bounded)
    t = w + F(1.0)
    t_left_out = w - (t - F(1.0))
    t_left_out /= t
    t = scale_by_power_of_two(t, n)
    divisor = t + F(1.0)
    divisor_left_out = t - (divisor - F(1.0))
    divisor_left_out /= divisor
    below = x < F(0.0)
    quotient = select(below, t, np.ones_like(t))
    quotient /= divisor
    correction = t_left_out * below
    correction -= divisor_left_out
    correction *= quotient
    quotient += correction
    return quotient
