"""Block floating point: quantizing, and the values of mantissas (numerics specification, section 1)."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from flexc.exporter.quantized.floats import exponent, is_tiny, positive_zero, power_of_two, rounded
from flexc.exporter.quantized.function_body import Body
from flexc.ir.shapes import Shape
from flexc.numerics.block_float import BlockFormat, Rounding


def quantize(body: Body, x: str, shape: Shape, tile: Shape, to: BlockFormat, rounding: Rounding) -> str:
    """The values of x [shape] quantized in boxes of ``tile``."""
    extents = [min(extent, edge) for extent, edge in zip(shape, tile, strict=True)]
    boxes = [-(-extent // edge) for extent, edge in zip(shape, extents, strict=True)]
    surplus = [count * edge - extent for count, edge, extent in zip(boxes, extents, shape, strict=True)]
    cut: list[int] = []
    within: list[int] = []
    for count, edge in zip(boxes, extents, strict=True):
        cut.append(count)
        if edge > 1:
            within.append(len(cut))
            cut.append(edge)
    normal = body.node("Where", is_tiny(body, x), body.constant(0.0), x)
    split = body.reshape(body.pad(normal, [0] * len(shape), surplus), cut)
    largest = body.node("Abs", split)
    if within:
        largest = body.node("ReduceMax", largest, body.integers(within), keepdims=1)
    n = exponent(body, largest)
    one = body.constant(2.0 ** (to.magnitude_bits - 1))
    bound = float(2**to.magnitude_bits - 1)
    significand = body.node("Mul", split, power_of_two(body, body.node("Neg", n)))
    mantissa = rounded(body, body.node("Mul", significand, one), rounding)
    mantissa = body.node("Clip", mantissa, body.constant(-bound), body.constant(bound))
    value = body.node("Mul", body.node("Div", mantissa, one), power_of_two(body, n))
    whole = body.reshape(positive_zero(body, value), [c * e for c, e in zip(boxes, extents, strict=True)])
    for axis, more in enumerate(surplus):
        if more:
            whole = body.slice(whole, axis, 0, shape[axis])
    return whole


def values(body: Body, mantissa: str, step: str, shape: Shape, tile: Shape) -> str:
    """Mantissas [shape] times the step of their groups, which are boxes of ``tile``."""
    for axis, (extent, edge) in enumerate(zip(shape, tile, strict=True)):
        if edge > 1:
            groups = body.integers((np.arange(extent) // edge).tolist())
            step = body.node("Gather", step, groups, axis=axis)
    return body.node("Mul", body.node("Cast", mantissa, to=TensorProto.FLOAT), step)
