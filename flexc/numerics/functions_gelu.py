"""GELU on fp32, both forms, with their relative accuracy kept in the negative tail, down to the subnormals.

Composing the textbook formula from erf or tanh would cancel there: 1 + erf is 0 from x = -4 on, where the
function still is -1e-4.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from flexc.numerics.elementwise import Float32Array, map_blocks
from flexc.numerics.functions import horner, scale_by_power_of_two
from flexc.numerics.functions_extended import (
    Pair,
    exp_extended,
    fast_two_sum,
    multiply_pairs,
    two_product,
    two_sum,
)

F = np.float32
_ONE = np.array(1.0, F)
GeluForm = Literal["none", "tanh"]

_CUT = F(14.5)
_CUT_TANH = F(11.0)
"""From here on gelu(x) is x, and -gelu(-x) is below half the smallest subnormal."""
_TAIL_CENTRE = np.array(3.0, F)
_TAIL_CONSTANT = (np.array(0.729083717, F), np.array(-2.64906586e-08, F))
_TAIL = (
    F(-0.509332001),
    F(0.230017707),
    F(-0.0472624451),
    F(-0.0104626184),
    F(0.00696771638),
    F(0.00102487789),
    F(-0.00102859829),
    F(-0.000243668386),
    F(0.000127891224),
    F(5.25778159e-05),
)
_CUBIC = (np.array(0.0713548139, F), np.array(2.39883247e-09, F))
_LINEAR = (np.array(1.59576917, F), np.array(-4.53406812e-08, F))


def gelu(x: Float32Array, *, approximate: GeluForm = "none") -> Float32Array:
    """x Phi(x) with the normal distribution Phi; "tanh": x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2.

    gelu(+-0) = +-0, gelu(inf) = inf, gelu(-inf) = -0 (the limit), NaN stays NaN.
    """
    if approximate == "none":
        return map_blocks("gelu", gelu_block, x)
    return map_blocks("gelu", gelu_tanh_block, x)


def gelu_block(x: Float32Array) -> Float32Array:
    """With t = |x| and T(t) = Phi(-t): x T(t) below zero, x (1 - T(t)) from zero on."""
    t = np.minimum(np.abs(x), _CUT)
    square = two_product(t, t)
    m, m_lo, n = exp_extended((square[0] * F(-0.5), square[1] * F(-0.5)))
    tail = multiply_pairs((m, m_lo), _scaled_tail(t))
    cut = np.copysign(t, x)
    below = scale_by_power_of_two(cut * tail[0] + cut * tail[1], n)
    phi, phi_lo = fast_two_sum(_ONE, -scale_by_power_of_two(tail[0].copy(), n))
    phi_lo -= scale_by_power_of_two(tail[1], n)
    return np.where(x < F(0.0), below, x * phi + cut * phi_lo)


def gelu_tanh_block(x: Float32Array) -> Float32Array:
    """With z = 2 sqrt(2/pi) (|x| + 0.044715 |x|**3), e = exp(-z): x e / (1 + e) or x / (1 + e)."""
    t = np.minimum(np.abs(x), _CUT_TANH)
    cubic = multiply_pairs(_CUBIC, two_product(t, t))
    factor, error = two_sum(_LINEAR[0], cubic[0])
    z = multiply_pairs((t, np.zeros_like(t)), (factor, error + (cubic[1] + _LINEAR[1])))
    m, m_lo, n = exp_extended((-z[0], -z[1]))
    divisor, divisor_lo = fast_two_sum(_ONE, scale_by_power_of_two(m.copy(), n))
    below = _divide_pairs((m, m_lo), (divisor, divisor_lo))
    above = _divide_pairs((np.ones_like(m), np.zeros_like(m)), (divisor, divisor_lo))
    cut = np.copysign(t, x)
    negative = scale_by_power_of_two(cut * below[0] + cut * below[1], n)
    return np.where(x < F(0.0), negative, x * above[0] + cut * above[1])


def _scaled_tail(t: Float32Array) -> Pair:
    """exp(t**2 / 2) Phi(-t) for 0 <= t <= 14.5: a polynomial in u = (t - 3) / (t + 3), over t + 3."""
    divisor, divisor_lo = two_sum(_TAIL_CENTRE, t)
    u = (t - _TAIL_CENTRE) / divisor
    numerator, error = fast_two_sum(_TAIL_CONSTANT[0], u * horner(_TAIL, u))
    return _divide_pairs((numerator, error + _TAIL_CONSTANT[1]), (divisor, divisor_lo))


def _divide_pairs(a: Pair, b: Pair) -> Pair:
    quotient = a[0] / b[0]
    product, error = two_product(quotient, b[0])
    return quotient, (((a[0] - product) - error) + (a[1] - quotient * b[1])) / b[0]
