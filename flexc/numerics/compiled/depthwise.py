"""Depthwise convolution and its local gradient: a rounded product and a rounded sum for each tap (section 2).

Nothing is padded: taps that fall outside are left out. A line of results stays in cache for all its taps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.compiled.jit import kernel, part
from flexc.numerics.convolution_geometry import ConvGeometry

_RANK = 3


def depthwise_conv(
    x: NDArray[np.float32], taps: NDArray[np.float32], geometry: ConvGeometry
) -> NDArray[np.float32]:
    """y [N, spatial..., C] of x [N, spatial..., C] and taps [prod(kernel), C], both contiguous."""
    y = aligned_empty((x.shape[0], *geometry.y_spatial, x.shape[-1]), np.float32)
    _add_taps(x.reshape(-1), taps, y.reshape(-1), x.shape[0], *_on_three_axes(geometry))
    return y


def depthwise_local_grad(
    g: NDArray[np.float32], taps: NDArray[np.float32], geometry: ConvGeometry
) -> NDArray[np.float32]:
    """dx [N, spatial..., C] of g [N, spatial..., C] and taps [prod(kernel), C], both contiguous."""
    dx = aligned_empty((g.shape[0], *geometry.x_spatial, g.shape[-1]), np.float32)
    _spread_taps(g.reshape(-1), taps, dx.reshape(-1), g.shape[0], *_on_three_axes(geometry))
    return dx


def _on_three_axes(geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
    """Sizes of x, y and the kernel, stride, dilation and padding in front, for three spatial axes."""
    missing = _RANK - len(geometry.kernel)
    of_axes = (geometry.x_spatial, geometry.y_spatial, geometry.kernel, geometry.stride, geometry.dilation)
    return (*((1,) * missing + axes for axes in of_axes), (0,) * missing + geometry.pads_begin)


@part
def _positions(tap: Any, stride: Any, dilation: Any, pad: Any, x_size: Any, y_size: Any) -> Any:
    """Along one axis, the outputs [least, most) that read something at ``tap``, and where output 0 reads."""
    first = tap * dilation - pad
    least = -(min(first, 0) // stride)
    return least, min(y_size, (x_size - 1 - first) // stride + 1), first


@part
def _add_products(
    line: Any,
    line_step: Any,
    line_first: Any,
    row: Any,
    row_step: Any,
    row_first: Any,
    weight: Any,
    least: Any,
    most: Any,
) -> Any:
    """Add one tap's products to a line of elements [channels], those of a row at positions [least, most).

    Position p is element ``first + step * p`` of each.
    """
    channels = weight.size
    for position in range(least, most):
        at = (position * line_step + line_first) * channels
        sums = line[at : at + channels]
        at = (position * row_step + row_first) * channels
        taken = row[at : at + channels]
        for c in range(channels):
            sums[c] = sums[c] + taken[c] * weight[c]


@kernel
def _add_taps(
    x: Any,
    taps: Any,
    y: Any,
    images: Any,
    x_sizes: Any,
    y_sizes: Any,
    kernel_sizes: Any,
    stride: Any,
    dilation: Any,
    pads_begin: Any,
) -> None:
    channels = taps.shape[1]
    x_line, y_line = x_sizes[2] * channels, y_sizes[2] * channels
    for output in range(images * y_sizes[0] * y_sizes[1]):
        image, z = divmod(output // y_sizes[1], y_sizes[0])
        line = y[output * y_line : (output + 1) * y_line]
        line[:] = np.float32(0)
        for outer in range(kernel_sizes[0] * kernel_sizes[1]):
            x_z = z * stride[0] - pads_begin[0] + outer // kernel_sizes[1] * dilation[0]
            x_y = output % y_sizes[1] * stride[1] - pads_begin[1] + outer % kernel_sizes[1] * dilation[1]
            if not (0 <= x_z < x_sizes[0] and 0 <= x_y < x_sizes[1]):
                continue
            at = ((image * x_sizes[0] + x_z) * x_sizes[1] + x_y) * x_line
            row = x[at : at + x_line]
            for tap in range(kernel_sizes[2]):
                weight = taps[outer * kernel_sizes[2] + tap]
                least, most, first = _positions(
                    tap, stride[2], dilation[2], pads_begin[2], x_sizes[2], y_sizes[2]
                )
                _add_products(line, 1, 0, row, stride[2], first, weight, least, most)


@kernel
def _spread_taps(
    g: Any,
    taps: Any,
    dx: Any,
    images: Any,
    x_sizes: Any,
    y_sizes: Any,
    kernel_sizes: Any,
    stride: Any,
    dilation: Any,
    pads_begin: Any,
) -> None:
    channels = taps.shape[1]
    x_line, y_line = x_sizes[2] * channels, y_sizes[2] * channels
    for number in range(images * x_sizes[0] * x_sizes[1]):
        image, z = divmod(number // x_sizes[1], x_sizes[0])
        line = dx[number * x_line : (number + 1) * x_line]
        line[:] = np.float32(0)
        for outer in range(kernel_sizes[0] * kernel_sizes[1]):
            y_z = z + pads_begin[0] - outer // kernel_sizes[1] * dilation[0]
            y_y = number % x_sizes[1] + pads_begin[1] - outer % kernel_sizes[1] * dilation[1]
            if y_z % stride[0] or y_y % stride[1]:
                continue
            y_z //= stride[0]
            y_y //= stride[1]
            if not (0 <= y_z < y_sizes[0] and 0 <= y_y < y_sizes[1]):
                continue
            at = ((image * y_sizes[0] + y_z) * y_sizes[1] + y_y) * y_line
            row = g[at : at + y_line]
            for tap in range(kernel_sizes[2]):
                weight = taps[outer * kernel_sizes[2] + tap]
                least, most, first = _positions(
                    tap, stride[2], dilation[2], pads_begin[2], x_sizes[2], y_sizes[2]
                )
                _add_products(line, stride[2], first, row, 1, 0, weight, least, most)


def add_tap_products(
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    taps: NDArray[np.float32],
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]],
    line_starts: NDArray[np.int64],
    tap_starts: NDArray[np.int64],
    *,
    columns: int,
    column_step: int,
    outputs: int,
    channels: int,
) -> None:
    """Add to flat y [blocks, lines, columns, outputs, channels] the product of each tap, in order.

    ``blocks`` are where the part of flat x and of the flat taps [taps, outputs, channels] begins for each
    block of y. In its part of x an element is at line_starts[line] + tap_starts[tap] + column_step * column.
    """
    _add_tile_taps(y, x, taps, *blocks, line_starts, tap_starts, columns, column_step, outputs, channels)


@kernel
def _add_tile_taps(
    y: Any,
    x: Any,
    taps: Any,
    x_blocks: Any,
    tap_blocks: Any,
    line_starts: Any,
    tap_starts: Any,
    columns: Any,
    column_step: Any,
    outputs: Any,
    channels: Any,
) -> None:
    dense = outputs == 1 and column_step == channels
    length = columns * outputs * channels
    # The weights of a tap beside each other, one for each element of a line.
    spread = np.empty(tap_starts.size * length, np.float32)
    for block in range(x_blocks.size):
        for tap in range(tap_starts.size):
            at = tap_blocks[block] + tap * outputs * channels
            weight = taps[at : at + outputs * channels]
            for column in range(columns):
                at = tap * length + column * weight.size
                spread[at : at + weight.size] = weight
        for number in range(line_starts.size):
            at = (block * line_starts.size + number) * length
            line = y[at : at + length]
            for tap in range(tap_starts.size):
                weights = spread[tap * length : (tap + 1) * length]
                start = x_blocks[block] + line_starts[number] + tap_starts[tap]
                if dense:
                    taken = x[start : start + length]
                    for i in range(length):
                        line[i] = line[i] + taken[i] * weights[i]
                    continue
                for column in range(columns):
                    at = start + column * column_step
                    taken = x[at : at + channels]
                    for output in range(outputs):
                        at = (column * outputs + output) * channels
                        sums, weight = line[at : at + channels], weights[at : at + channels]
                        for c in range(channels):
                            sums[c] = sums[c] + taken[c] * weight[c]
