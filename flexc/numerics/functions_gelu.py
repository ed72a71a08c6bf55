"""GELU on fp32, both forms, with their relative accuracy kept in the negative tail, down to the subnormals.

Composing the textbook formula from erf or tanh would cancel there: 1 + erf is 0 from x = -4 on, where the
function still is -1e-4.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from flexc.numerics.elementwise import Float32Array, map_blocks, select
from flexc.numerics.functions import horner, scale_by_power_of_two
from flexc.numerics.functions_extended import (
    Pair,
    divide_pairs,
    exp_extended,
    fast_two_sum,
    multiply_pairs,
    round_product,
    two_product,
    two_sum,
)

F = np.float32
_ZERO, _ONE = np.array(0.0, F), np.array(1.0, F)
GeluForm = Literal["none", "tanh"]

_CUT = F(14.5)
_CUT_TANH = F(11.0)
"""From here on gelu(x) is x, and -gelu(-x) is below half the smallest subnormal."""
_TAIL_CENTRE = np.array(2.0, F)
_TAIL_CONSTANT = (np.array(0.672408, F), np.array(1.9966096e-08, F))
_TAIL = (
    F(-0.331404448),
    F(0.0287973825),
    F(0.0367185809),
    F(-0.00047000614),
    F(-0.00672752783),
    F(-0.00194885151),
    F(0.000798722554),
    F(0.000824215065),
    F(0.000172454718),
    F(-0.000125186285),
    F(-8.8713663e-05),
    F(-1.64884914e-05),
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
    below = scale_by_power_of_two(round_product(cut, tail), n)
    phi, phi_lo = fast_two_sum(_ONE, -scale_by_power_of_two(tail[0].copy(), n))
    phi_lo -= scale_by_power_of_two(tail[1], n)
    above: Float32Array = x * phi
    above += cut * phi_lo
    return select(x < F(0.0), below, above)


def gelu_tanh_block(x: Float32Array) -> Float32Array:
    """With z = 2 sqrt(2/pi) (|x| + 0.044715 |x|**3), e = exp(-z): x e / (1 + e) or x / (1 + e)."""
    t = np.minimum(np.abs(x), _CUT_TANH)
    cubic = multiply_pairs(_CUBIC, two_product(t, t))
    factor, error = two_sum(_LINEAR[0], cubic[0])
    z = multiply_pairs((t, _ZERO), (factor, error + (cubic[1] + _LINEAR[1])))
    m, m_lo, n = exp_extended((-z[0], -z[1]))
    divisor, divisor_lo = fast_two_sum(_ONE, scale_by_power_of_two(m.copy(), n))
    below = divide_pairs((m, m_lo), (divisor, divisor_lo))
    above = divide_pairs((_ONE, _ZERO), (divisor, divisor_lo))
    cut = np.copysign(t, x)
    negative = scale_by_power_of_two(round_product(cut, below), n)
    positive: Float32Array = x * above[0]
    positive += cut * above[1]
    return select(x < F(0.0), negative, positive)


def _scaled_tail(t: Float32Array) -> Pair:
    """exp(t**2 / 2) Phi(-t) for 0 <= t <= 14.5: a polynomial in u = (t - 2) / (t + 2), over t + 2."""
    divisor, divisor_lo = two_sum(_TAIL_CENTRE, t)
    u = (t - _TAIL_CENTRE) / divisor
    numerator, error = fast_two_sum(_TAIL_CONSTANT[0], u * horner(_TAIL, u))
    return divide_pairs((numerator, error + _TAIL_CONSTANT[1]), (divisor, divisor_lo))
