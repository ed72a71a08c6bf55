"""Gradients of pooling and of maxima (numerics specification, section 3.8)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.reductions import merge_axes_first, normalize_axes
from flexc.numerics.windows import BLOCK_ELEMENTS, Windows


def max_pool_grad(
    g: Float32Array,
    x: Float32Array,
    *,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Float32Array:
    """dx [N, C, spatial...]: each element of x adds up the gradients of the windows that it wins.

    From +0, one by one, the windows in row-major order. The winner is the element that the comparisons of
    :func:`flexc.numerics.max_pool` end on; a window that holds nothing above -inf has none. Channels-last in
    memory. Raises TypeError when an operand is not fp32, ValueError for shapes that do not belong together.
    """
    require_float32("max_pool_grad", g, x)
    windows = Windows.over(
        x.shape, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
    )
    gradient = _channels_last("max_pool_grad", g, x.shape, windows)
    padded = windows.pad_channels_last(x, -np.inf)
    dx = np.zeros_like(padded)
    for images in _image_blocks(gradient):
        own = gradient[images]
        winner = _winning_taps(padded[images], own.shape, windows)
        with np.errstate(all="ignore"):
            for number, at in _taps_last_first(windows):
                dx[(images, *at)] += np.where(winner == number, own, np.float32(0))
    return _cropped(dx, windows)


def average_pool_grad(
    g: Float32Array,
    *,
    x_shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Float32Array:
    """dx of shape `x_shape`: each element adds up g / RN32(count) of the windows over it.

    From +0, one by one, the windows in row-major order. Raises as :func:`max_pool_grad`.
    """
    require_float32("average_pool_grad", g)
    windows = Windows.over(
        x_shape, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
    )
    gradient = _channels_last("average_pool_grad", g, x_shape, windows)
    count = np.ones((), np.int64)
    for dim in range(windows.rank):
        count = np.multiply.outer(count, windows.covered(dim, with_padding=count_include_pad))
    dx = np.zeros((gradient.shape[0], *windows.padded_size(), gradient.shape[-1]), np.float32)
    with np.errstate(all="ignore"):
        share = gradient / count.astype(np.float32)[..., None]
        for images in _image_blocks(gradient):
            for _, at in _taps_last_first(windows):
                dx[(images, *at)] += share[images]
    return _cropped(dx, windows)


def reduce_max_grad(
    g: Float32Array, x: Float32Array, *, axes: Sequence[int], keepdims: bool = False
) -> Float32Array:
    """dx: g at the first maximum in row-major order of the reduced positions, +0 elsewhere.

    Raises TypeError when an operand is not fp32, ValueError when g does not have the shape of the maxima.
    """
    require_float32("reduce_max_grad", g, x)
    reduced = normalize_axes(axes, x.ndim)
    kept = tuple(axis for axis in range(x.ndim) if axis not in reduced)
    positions = merge_axes_first(x, reduced)
    dx = np.zeros(positions.shape, np.float32)
    first = np.argmax(positions, axis=0, keepdims=True)
    np.put_along_axis(dx, first, g.reshape(1, *positions.shape[1:]), axis=0)
    order = reduced + kept
    return dx.reshape([x.shape[axis] for axis in order]).transpose(np.argsort(order))


def _winning_taps(padded: Float32Array, shape: tuple[int, ...], windows: Windows) -> NDArray[np.int32]:
    """The number of the tap that wins each window, -1 where none does."""
    best = np.full(shape, -np.inf, np.float32)
    winner = np.full(shape, -1, np.int32)
    for number, tap in enumerate(windows.taps()):
        values = padded[(slice(None), *windows.tap_slices(tap, slice(0, windows.output_size[0])))]
        wins = (values > best) | (values != values)
        np.copyto(best, values, where=wins)
        np.copyto(winner, np.int32(number), where=wins)
    return winner


def _taps_last_first(windows: Windows) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Taps and where they lie. The later a tap reaches a position, the earlier its window starts."""
    taps = list(enumerate(windows.taps()))
    for number, tap in reversed(taps):
        yield number, windows.tap_slices(tap, slice(0, windows.output_size[0]))


def _image_blocks(gradient: Float32Array) -> Iterator[slice]:
    """Runs of whole images: a position's windows must meet in one order."""
    together = max(1, BLOCK_ELEMENTS // max(1, math.prod(gradient.shape[1:])))
    for image in range(0, gradient.shape[0], together):
        yield slice(image, image + together)


def _channels_last(op: str, g: Float32Array, x_shape: Sequence[int], windows: Windows) -> Float32Array:
    expected = (*x_shape[:2], *windows.output_size)
    if g.shape != expected:
        raise ValueError(f"{op}: gradient of shape {list(g.shape)} where y has shape {list(expected)}")
    return np.ascontiguousarray(np.moveaxis(g, 1, -1))


def _cropped(dx: Float32Array, windows: Windows) -> Float32Array:
    inside = tuple(slice(windows.pads[d], windows.pads[d] + windows.size[d]) for d in range(windows.rank))
    return np.moveaxis(dx[(slice(None), *inside)], -1, 1)
