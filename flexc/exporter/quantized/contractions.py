"""Contractions of quantized operands, segment by segment (numerics specification, section 2).

A segment is a matrix product in fp64, where its sum is exact whatever its order, rounded to fp32 once; the
partials are added in fp32 in the order of the segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

from onnx import TensorProto

from flexc.exporter.quantized.floats import positive_zero
from flexc.exporter.quantized.function_body import Body, Operand


@dataclass(frozen=True)
class ConvGeometry:
    """Attributes of a convolution over one to three spatial dimensions, as ONNX has them."""

    stride: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int


def segment_edges(extent: int, a_length: int, b_length: int, a_start: int = 0) -> list[int]:
    """Where segments of a contracted axis begin and end: where a group of either operand does.

    The axis begins at ``a_start`` of the axis that a's groups lie on.
    """
    of_a = {at - a_start for at in range(0, a_start + extent, a_length)}
    return sorted({extent, *range(0, extent, b_length)} | {at for at in of_a if at > 0})


def matmul(body: Body, a: str, b: str, bias: str | None, of_a: Operand, of_b: Operand) -> str:
    """[..., M, K] by [..., K, N]."""
    assert of_a.tile is not None
    assert of_b.tile is not None
    a_axis, b_axis = len(of_a.shape) - 1, max(len(of_b.shape) - 2, 0)
    segments = segment_edges(of_a.shape[a_axis], of_a.tile[a_axis], of_b.tile[b_axis])
    a, b = (body.node("Cast", one, to=TensorProto.DOUBLE) for one in (a, b))
    partials = (
        body.node("MatMul", body.slice(a, a_axis, low, high), body.slice(b, b_axis, low, high))
        for low, high in pairwise(segments)
    )
    acc = _accumulate(body, partials)
    return acc if bias is None else body.node("Add", acc, bias)


def conv(
    body: Body, x: str, w: str, bias: str | None, of_x: Operand, of_w: Operand, geometry: ConvGeometry,
    output: Sequence[int],
) -> str:  # fmt: skip
    """[N, C, spatial...] by [O, C / group, kernel...] into ``output``, [N, O, spatial...].

    The groups of x run along no spatial dimension.
    """
    assert of_x.tile is not None
    assert of_w.tile is not None
    images, channels, *_ = of_x.shape
    filters, depth, *kernel = of_w.shape
    spatial = len(kernel)
    begins, ends = geometry.pads[:spatial], geometry.pads[spatial:]
    padded = body.pad(x, [0, 0, *begins], [0, 0, *ends])
    sizes = [size + b + e for size, b, e in zip(of_x.shape[2:], begins, ends, strict=True)]
    group = geometry.group
    xs = body.node(
        "Cast", body.reshape(padded, [images, group, channels // group, *sizes]), to=TensorProto.DOUBLE
    )
    ws = body.node("Cast", body.reshape(w, [group, filters // group, depth, *kernel]), to=TensorProto.DOUBLE)
    segments = [segment_edges(depth, of_x.tile[1], of_w.tile[1], g * depth) for g in range(group)]
    alike = all(one == segments[0] for one in segments)
    runs = [(0, group)] if alike else [(g, g + 1) for g in range(group)]
    found = []
    for first, end in runs:
        own = (xs, ws) if alike else (body.slice(xs, 1, first, end), body.slice(ws, 0, first, end))
        shape = [images, end - first, filters // group, depth]
        partials = _taps(body, own, segments[first], kernel, shape, geometry, output[2:])
        found.append(_accumulate(body, partials))
    acc = found[0] if alike else body.node("Concat", *found, axis=1)
    acc = body.reshape(acc, output)
    return acc if bias is None else body.node("Add", acc, body.reshape(bias, [filters, *(1 for _ in kernel)]))


def _taps(
    body: Body, operands: tuple[str, str], segments: Sequence[int], kernel: Sequence[int],
    shape: Sequence[int], geometry: ConvGeometry, output: Sequence[int],
) -> Iterator[str]:  # fmt: skip
    """The partial of each segment of channels and each tap of it, [N, groups, filters, positions]."""
    xs, ws = operands
    images, groups, filters, _ = shape
    for low, high in pairwise(segments):
        x_part, w_part = body.slice(xs, 2, low, high), body.slice(ws, 2, low, high)
        for tap in product(*map(range, kernel)):
            seen, weight = x_part, w_part
            for dim, offset in enumerate(tap):
                start = offset * geometry.dilation[dim]
                stop = start + (output[dim] - 1) * geometry.stride[dim] + 1
                seen = body.slice(seen, dim + 3, start, stop, geometry.stride[dim])
                weight = body.slice(weight, dim + 3, offset, offset + 1)
            seen = body.reshape(seen, [images, groups, high - low, prod(output)])
            weight = body.reshape(weight, [groups, filters, high - low])
            yield body.node("MatMul", weight, seen)


def _accumulate(body: Body, partials: Iterator[str]) -> str:
    """acc = RN32(acc + RN32(partial)), from +0."""
    acc = ""
    for partial in partials:
        rounded = body.node("Cast", partial, to=TensorProto.FLOAT)
        acc = body.node("Add", acc, rounded) if acc else positive_zero(body, rounded)
    return acc
