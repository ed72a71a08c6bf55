"""Sums in the order of lanes, and what is made of them (numerics specification, sections 3.3 to 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from flexc.exporter.quantized.elementwise import exp, log
from flexc.exporter.quantized.floats import choose, positive_zero, reciprocal
from flexc.exporter.quantized.function_body import Body
from flexc.ir.shapes import Shape
from flexc.numerics.vector import LANES
from flexc.numerics.windows import Windows


def lane_sum(body: Body, x: str, shape: Shape, axes: Sequence[int]) -> str:
    """The sum over axes of x [shape], whose extents become 1."""
    reduced = sorted(axis % len(shape) for axis in axes)
    kept = [axis for axis in range(len(shape)) if axis not in reduced]
    count, rest = prod(shape[axis] for axis in reduced), prod(shape[axis] for axis in kept)
    rows = -(-count // LANES)
    flat = body.reshape(body.node("Transpose", x, perm=[*reduced, *kept]), [count, rest])
    lanes = body.reshape(body.pad(flat, [0, 0], [rows * LANES - count, 0]), [rows, LANES, rest])
    # A sum that starts from +0 never is -0.
    parts = [body.slice(lanes, 0, row, row + 1) for row in range(rows)] if rows > 1 else [lanes]
    total = positive_zero(body, parts[0])
    for part in parts[1:]:
        total = body.node("Add", total, part)
    half = LANES // 2
    while half:
        total = body.node("Add", body.slice(total, 1, 0, half), body.slice(total, 1, half, 2 * half))
        half //= 2
    return body.reshape(total, [1 if axis in reduced else extent for axis, extent in enumerate(shape)])


def mean(body: Body, x: str, shape: Shape, axes: Sequence[int]) -> str:
    """The lane sum over the fp32 of the count."""
    count = prod(shape[axis % len(shape)] for axis in axes)
    return body.node("Div", lane_sum(body, x, shape, axes), body.constant(count))


def shifted_exponentials(body: Body, x: str, shape: Shape, axis: int) -> tuple[str, str, str]:
    """(d, e, s): x less its maximum, the exponentials of that, and their lane sum."""
    largest = body.node("ReduceMax", x, body.integers([axis]), keepdims=1)
    d = body.node("Sub", x, largest)
    e = exp(body, d)
    return d, e, lane_sum(body, e, shape, [axis])


def softmax(body: Body, x: str, shape: Shape, axis: int) -> str:
    """e / s."""
    _, e, s = shifted_exponentials(body, x, shape, axis)
    return body.node("Div", e, s)


def log_softmax(body: Body, x: str, shape: Shape, axis: int) -> str:
    """d - log(s)."""
    d, _, s = shifted_exponentials(body, x, shape, axis)
    return body.node("Sub", d, log(body, s))


def layer_norm(body: Body, x: str, gamma: str, beta: str | None, shape: Shape, axis: int, eps: float) -> str:
    """((x - mean) * (1 / sqrt(var + eps))) * gamma + beta over the axes from ``axis`` on."""
    axes = range(axis % len(shape), len(shape))
    d = body.node("Sub", x, mean(body, x, shape, axes))
    variance = mean(body, body.node("Mul", d, d), shape, axes)
    deviation = body.node("Sqrt", body.node("Add", variance, body.constant(eps)))
    y = body.node("Mul", d, reciprocal(body, deviation))
    y = body.node("Mul", y, gamma)
    return y if beta is None else body.node("Add", y, beta)


def max_pool(body: Body, x: str, windows: Windows) -> str:
    """The first maximum of each window."""
    best = ""
    for tap in _taps(body, x, windows, -np.inf):
        best = choose(body, body.node("Greater", tap, best), tap, best) if best else tap
    return best


def average_pool(body: Body, x: str, windows: Windows, count_include_pad: bool) -> str:
    """The sum of each window's taps, one by one, over the count of its elements."""
    total = ""
    for tap in _taps(body, x, windows, 0.0):
        total = body.node("Add", total, tap) if total else positive_zero(body, tap)
    count = np.ones((), np.int64)
    for dim in range(windows.rank):
        count = np.multiply.outer(count, windows.covered(dim, with_padding=count_include_pad))
    return body.node("Div", total, body.constant(count))


def _taps(body: Body, x: str, windows: Windows, fill: float) -> list[str]:
    """What each tap of the windows over x [N, C, spatial...] sees, in row-major order."""
    begins = windows.pads[: windows.rank]
    padded = windows.padded_size()
    ends = [whole - size - b for whole, size, b in zip(padded, windows.size, begins, strict=True)]
    around = body.pad(x, [0, 0, *begins], [0, 0, *ends], fill)
    found = []
    for tap in windows.taps():
        seen = around
        for dim, rows in enumerate(windows.tap_slices(tap, slice(0, windows.output_size[0]))):
            seen = body.slice(seen, dim + 2, rows.start, rows.stop, rows.step)
        found.append(seen)
    return found
