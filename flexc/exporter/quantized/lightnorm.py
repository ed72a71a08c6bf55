"""LightNorm with given statistics in standard operators (numerics specification, section 5)."""

from __future__ import annotations

import numpy as np

from flexc.exporter.quantized.floats import exponent, is_tiny, minifloat, power_of_two
from flexc.exporter.quantized.function_body import Body
from flexc.ir.shapes import Shape
from flexc.numerics.block_float import Rounding
from flexc.numerics.lightnorm_constants import FORWARD_BITS
from flexc.numerics.lightnorm_groups import CHANNELS_PER_GROUP
from flexc.numerics.minifloat import FP10A

FRACTION_BITS = 23
CHANNEL_AXIS = 2
"""Of a tensor [N, groups, channels of a group, positions]."""


def normalize(
    body: Body, x: str, mean: str, scale: str, gamma_q: str, beta: str, shape: Shape, rounding: Rounding
) -> str:
    """y of x [shape] and constants [C], before any activation."""
    by_channel = [shape[1], *(1 for _ in shape[2:])]
    mean, scale, gamma_q, beta = (body.reshape(one, by_channel) for one in (mean, scale, gamma_q, beta))
    xq = bfp10(body, minifloat(body, x, FP10A, rounding), shape)
    xhat = body.node("Mul", body.node("Sub", xq, mean), scale)
    xhat = minifloat(body, xhat, FP10A, rounding)
    y = body.node("Add", body.node("Mul", xhat, gamma_q), beta)
    return bfp10(body, minifloat(body, y, FP10A, rounding), shape)


def bfp10(body: Body, x: str, shape: Shape, bits: int = FORWARD_BITS) -> str:
    """x [N, C, ...] truncated against the second largest exponent of each four channels."""
    groups = -(-shape[1] // CHANNELS_PER_GROUP)
    padded = [shape[0], groups * CHANNELS_PER_GROUP, *shape[2:]]
    ends = [whole - extent for whole, extent in zip(padded, shape, strict=True)]
    around = body.pad(x, [0] * len(shape), ends)
    split = body.reshape(around, [shape[0], groups, CHANNELS_PER_GROUP, -1])
    name = f"TruncateGroups_{bits}"
    kept = body.call(name, lambda own, x: _truncate(own, x, bits), split)
    return body.slice(body.reshape(kept, padded), 1, 0, shape[1])


def _truncate(body: Body, x: str, bits: int) -> str:
    zero, no_bits = body.constant(0.0), body.constant(0, np.int32)
    n = exponent(body, x)
    tiny = is_tiny(body, x)
    # Below every exponent of a normal number, so that zeros come last.
    e = body.node("Where", tiny, body.constant(-127, np.int32), n)
    largest, _ = body.nodes_of("TopK", [e, body.integers([2])], 2, axis=CHANNEL_AXIS)
    first, second = (body.slice(largest, CHANNEL_AXIS, one, one + 1) for one in (0, 1))
    k = body.node("Sub", body.constant(bits - 1, np.int32), body.node("Sub", second, e))
    # Of an element that passes unchanged, k may be beyond all bits and every power of two.
    most = body.constant(FRACTION_BITS, np.int32)
    places = body.node("Min", body.node("Max", k, no_bits), most)
    unit = power_of_two(body, body.node("Neg", n))
    fraction = body.node("Mul", body.node("Mul", body.node("Abs", x), unit), power_of_two(body, places))
    magnitude = body.node("Mul", body.node("Floor", fraction), power_of_two(body, body.node("Neg", places)))
    value = body.node("Mul", body.node("Mul", body.node("Sign", x), magnitude), power_of_two(body, n))
    cut = body.node("Where", body.node("Less", k, no_bits), zero, value)
    return body.node("Where", tiny, zero, body.node("Where", body.node("Equal", e, first), x, cut))
