"""Exact pieces of fp32 arithmetic in standard operators (numerics specification, sections 1, 3 and 5).

Operators on bits came late to ONNX, so exponents are found by a logarithm and mended by comparisons: exact
for whatever error a logarithm has. Powers of two come from a table; products with them are exact.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from flexc.exporter.quantized.function_body import Body
from flexc.numerics.block_float import Rounding
from flexc.numerics.minifloat import MinifloatFormat

LEAST_POWER = -149
LARGEST_POWER = 127
LEAST_NORMAL_EXPONENT = -126
LEAST_NORMAL = float(2.0**LEAST_NORMAL_EXPONENT)


def power_of_two(body: Body, n: str) -> str:
    """2^n in fp32 for int32 from -149 to 127."""

    def build(own: Body, n: str) -> str:
        table = np.ldexp(np.float32(1), np.arange(LEAST_POWER, LARGEST_POWER + 1))
        index = own.node("Sub", n, own.constant(LEAST_POWER, np.int32))
        return own.node("Gather", own.constant(table), index, axis=0)

    return body.call("PowerOfTwo", build, n)


def exponent(body: Body, x: str) -> str:
    """The exponent of |x| as int32; -126 for zeros and subnormals."""

    def build(own: Body, x: str) -> str:
        least = own.constant(LEAST_NORMAL)
        magnitude = own.node("Max", own.node("Abs", x), least)
        logarithm = own.node("Mul", own.node("Log", magnitude), own.constant(1 / np.log(2)))
        bounds = own.constant(LEAST_NORMAL_EXPONENT), own.constant(LARGEST_POWER)
        floor = own.node("Clip", own.node("Floor", logarithm), *bounds)
        guess = own.node("Cast", floor, to=TensorProto.INT32)
        power = power_of_two(own, guess)
        above = own.node("GreaterOrEqual", magnitude, own.node("Add", power, power))
        below = own.node("Less", magnitude, power)
        more, less = (own.node("Cast", one, to=TensorProto.INT32) for one in (above, below))
        return own.node("Sub", own.node("Add", guess, more), less)

    return body.call("Exponent", build, x)


def is_tiny(body: Body, x: str) -> str:
    """Whether x is a zero or a subnormal."""
    return body.node("Less", body.node("Abs", x), body.constant(LEAST_NORMAL))


def positive_zero(body: Body, x: str) -> str:
    """x, with +0 for -0. (Adding +0 is taken for nothing by optimizers.)"""
    zero = body.constant(0.0)
    return body.node("Where", body.node("Equal", x, zero), zero, x)


def choose(body: Body, condition: str, x: str, y: str) -> str:
    """x where the condition holds, otherwise y, with the signs of their zeros.

    onnxruntime's Where adds up what it takes of both, so that a -0 comes out as +0.
    """

    def build(own: Body, condition: str, x: str, y: str) -> str:
        one = own.constant(1.0)
        value = positive_zero(own, own.node("Where", condition, x, y))
        sides = own.node("Div", one, x), own.node("Div", one, y)
        below = own.node("Less", own.node("Where", condition, *sides), own.constant(0.0))
        zero = own.node("Equal", value, own.constant(0.0))
        sign = own.node("Where", own.node("And", zero, below), own.constant(-1.0), one)
        return own.node("Mul", value, sign)

    return body.call("Choose", build, condition, x, y)


def reciprocal(body: Body, x: str) -> str:
    """1 / x. The 1 is computed, since onnxruntime makes one division of y * (1 / x) with a constant 1."""
    one = body.node("Cast", body.node("Equal", x, x), to=TensorProto.FLOAT)
    return body.node("Div", one, x)


def rounded(body: Body, x: str, rounding: Rounding) -> str:
    """x rounded to an integer: to nearest, ties to even, or towards zero."""
    if rounding is Rounding.NEAREST:
        return body.node("Round", x)
    return body.node("Mul", body.node("Sign", x), body.node("Floor", body.node("Abs", x)))


def minifloat(body: Body, x: str, to: MinifloatFormat, rounding: Rounding) -> str:
    """x rounded to a small format (section 5)."""

    def build(own: Body, x: str) -> str:
        n = exponent(own, x)
        significand = own.node("Mul", x, power_of_two(own, own.node("Neg", n)))
        scale = own.constant(2.0**to.fraction_bits)
        kept = rounded(own, own.node("Mul", significand, scale), rounding)
        value = own.node("Mul", own.node("Div", kept, scale), power_of_two(own, n))
        value = own.node("Clip", value, own.constant(-to.largest), own.constant(to.largest))
        below = own.node("Less", own.node("Abs", x), own.constant(2.0**to.least_exponent))
        return own.node("Where", below, own.constant(0.0), value)

    name = f"Minifloat_{to.exponent_bits}_{to.fraction_bits}_{rounding}"
    return body.call(name, build, x)
