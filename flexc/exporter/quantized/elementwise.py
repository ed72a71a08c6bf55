"""Functions of the vector unit, operation by operation (numerics specification, sections 3.1 and 3.2).

A NaN in means a NaN out or anything: what is quantized refuses it.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from flexc.exporter.quantized.floats import LEAST_NORMAL, exponent, positive_zero, power_of_two
from flexc.exporter.quantized.function_body import Body
from flexc.numerics.functions import (
    ERF_FAR,
    ERF_NEAR,
    ERF_SPLIT,
    EXP_COEFFICIENTS,
    EXP_HIGHEST,
    EXP_LOWEST,
    LN2_HI,
    LN2_LO,
    LOG2_E,
    LOG_COEFFICIENTS,
    ONE_AND_A_HALF_2_23,
    TANH_COEFFICIENTS,
    TANH_SPLIT,
)

SQRT_2 = np.uint32(0x3FB504F3).view(np.float32)
"""Twice the fp32 at which the logarithm's significands begin."""


def relu(body: Body, x: str) -> str:
    """x where x > 0, otherwise +0."""
    zero = body.constant(0.0)
    return body.node("Where", body.node("LessOrEqual", x, zero), zero, x)


def bounded(body: Body, x: str, least: float, largest: float) -> str:
    """x between two bounds; the sign of a zero is open."""
    if np.isfinite(least):
        bound = body.constant(least)
        x = body.node("Where", body.node("Less", x, bound), bound, x)
    if np.isfinite(largest):
        bound = body.constant(largest)
        x = body.node("Where", body.node("Greater", x, bound), bound, x)
    return x


def clip(body: Body, x: str, minimum: float, maximum: float) -> str:
    """x between the bounds, zeros +0."""
    return positive_zero(body, bounded(body, x, minimum, maximum))


def leaky_relu(body: Body, x: str, alpha: float) -> str:
    """alpha * x below zero, zeros +0."""
    below = body.node("Less", x, body.constant(0.0))
    return positive_zero(body, body.node("Where", below, body.node("Mul", x, body.constant(alpha)), x))


def hard_sigmoid(body: Body, x: str, alpha: float, beta: float) -> str:
    """alpha * x + beta between 0 and 1."""
    line = body.node("Add", body.node("Mul", x, body.constant(alpha)), body.constant(beta))
    return relu(body, bounded(body, line, -np.inf, 1.0))


def hard_swish(body: Body, x: str) -> str:
    """x times its hard sigmoid of slope 1/6."""
    return body.node("Mul", x, hard_sigmoid(body, x, 1 / 6, 0.5))


def horner(body: Body, coefficients: tuple[np.float32, ...], z: str) -> str:
    """A polynomial, from the inside out, each product and each sum rounded."""
    result = body.node("Mul", z, body.constant(coefficients[-1]))
    for coefficient in coefficients[-2:0:-1]:
        result = body.node("Mul", body.node("Add", result, body.constant(coefficient)), z)
    return body.node("Add", result, body.constant(coefficients[0]))


def exp_parts(body: Body, x: str) -> tuple[str, str]:
    """(w, n), n int32, with e^x = (1 + w) 2^n."""
    shift = body.constant(ONE_AND_A_HALF_2_23)
    shifted = body.node("Add", body.node("Mul", x, body.constant(LOG2_E)), shift)
    n = body.node("Sub", shifted, shift)
    r = body.node("Sub", x, body.node("Mul", n, body.constant(LN2_HI)))
    r = body.node("Sub", r, body.node("Mul", n, body.constant(LN2_LO)))
    w = body.node("Mul", body.node("Mul", horner(body, EXP_COEFFICIENTS, r), r), r)
    return body.node("Add", w, r), body.node("Cast", n, to=TensorProto.INT32)


def scaled(body: Body, y: str, n: str) -> str:
    """y * 2^n by two products."""
    halved = body.node("Mul", body.node("Cast", n, to=TensorProto.FLOAT), body.constant(0.5))
    half = body.node("Cast", body.node("Floor", halved), to=TensorProto.INT32)
    once = body.node("Mul", y, power_of_two(body, half))
    return body.node("Mul", once, power_of_two(body, body.node("Sub", n, half)))


def exp(body: Body, x: str) -> str:
    """e^x."""

    def build(own: Body, x: str) -> str:
        w, n = exp_parts(own, bounded(own, x, float(EXP_LOWEST), float(EXP_HIGHEST)))
        return scaled(own, own.node("Add", w, own.constant(1.0)), n)

    return body.call("ExpOfElement", build, x)


def log(body: Body, x: str) -> str:
    """The natural logarithm."""
    below = body.node("Less", x, body.constant(LEAST_NORMAL))
    normal = body.node("Where", below, body.node("Mul", x, body.constant(2.0**23)), x)
    n = exponent(body, normal)
    significand = body.node("Mul", normal, power_of_two(body, body.node("Neg", n)))
    upper = body.node("GreaterOrEqual", significand, body.constant(SQRT_2))
    halved = body.node("Mul", significand, body.constant(0.5))
    f = body.node("Sub", body.node("Where", upper, halved, significand), body.constant(1.0))
    more = body.node("Cast", upper, to=TensorProto.INT32)
    k = body.node("Cast", body.node("Add", n, more), to=TensorProto.FLOAT)
    k = body.node("Sub", k, body.node("Where", below, body.constant(23.0), body.constant(0.0)))
    s = body.node("Div", f, body.node("Add", f, body.constant(2.0)))
    z = body.node("Mul", s, s)
    series = body.node("Mul", horner(body, LOG_COEFFICIENTS, z), z)
    half_square = body.node("Mul", body.node("Mul", f, body.constant(0.5)), f)
    series = body.node("Mul", body.node("Add", series, half_square), s)
    series = body.node("Add", series, body.node("Mul", k, body.constant(LN2_LO)))
    series = body.node("Add", body.node("Sub", series, half_square), f)
    series = body.node("Add", series, body.node("Mul", k, body.constant(LN2_HI)))
    infinite = body.node("Equal", x, body.constant(np.inf))
    series = body.node("Where", infinite, x, series)
    zero = body.constant(0.0)
    nan = body.node("Where", body.node("Less", x, zero), body.constant(np.nan), series)
    return body.node("Where", body.node("Equal", x, zero), body.constant(-np.inf), nan)


def with_sign_of(body: Body, magnitude: str, x: str) -> str:
    """A magnitude with the sign of x, that of a zero too."""
    zero, one = body.constant(0.0), body.constant(1.0)
    below = body.node("Or", body.node("Less", x, zero), body.node("Less", body.node("Div", one, x), zero))
    return body.node("Mul", magnitude, body.node("Where", below, body.constant(-1.0), one))


def tanh(body: Body, x: str) -> str:
    """The hyperbolic tangent."""
    a = body.node("Abs", x)
    z = body.node("Mul", a, a)
    near = body.node("Mul", body.node("Mul", horner(body, TANH_COEFFICIENTS, z), z), a)
    near = body.node("Add", near, a)
    one = body.constant(1.0)
    divisor = body.node("Add", exp(body, body.node("Add", a, a)), one)
    far = body.node("Sub", one, body.node("Div", body.constant(2.0), divisor))
    inside = body.node("Less", a, body.constant(TANH_SPLIT))
    return with_sign_of(body, body.node("Where", inside, near, far), x)


def erf(body: Body, x: str) -> str:
    """The error function."""
    a = body.node("Abs", x)
    near = body.node("Mul", horner(body, ERF_NEAR, body.node("Mul", a, a)), a)
    near = body.node("Add", near, a)
    cut = bounded(body, a, -np.inf, 4.0)
    far = body.node("Mul", horner(body, ERF_FAR, cut), cut)
    far = body.node("Sub", body.constant(1.0), exp(body, far))
    inside = body.node("Less", a, body.constant(ERF_SPLIT))
    return with_sign_of(body, body.node("Where", inside, near, far), x)


def sigmoid(body: Body, x: str) -> str:
    """1 / (1 + e^-x), corrected by what two roundings left out."""
    one = body.constant(1.0)
    w, n = exp_parts(body, bounded(body, body.node("Neg", body.node("Abs", x)), float(EXP_LOWEST), np.inf))
    plain = body.node("Add", w, one)
    left_out = body.node("Div", body.node("Sub", w, body.node("Sub", plain, one)), plain)
    t = scaled(body, plain, n)
    divisor = body.node("Add", t, one)
    of_divisor = body.node("Div", body.node("Sub", t, body.node("Sub", divisor, one)), divisor)
    below = body.node("Less", x, body.constant(0.0))
    quotient = body.node("Div", body.node("Where", below, t, one), divisor)
    correction = body.node("Where", below, left_out, body.constant(0.0))
    correction = body.node("Mul", body.node("Sub", correction, of_divisor), quotient)
    return body.node("Add", quotient, correction)
