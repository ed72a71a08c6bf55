"""Gradients of the convolution of the fp32 profile: BLAS products, whose order of summation is not fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flexc.numerics.dense import PATCH_ELEMENTS, windows_view
from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.windows import Windows


def conv_local_grad(
    g: Float32Array,
    w: Float32Array,
    *,
    x_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Float32Array:
    """dx [N, C, spatial...] of the gradient g [N, O, output...] and w [O, C/group, kernel...].

    Channels-last in memory. Raises TypeError when an operand is not fp32, ValueError when shapes and
    attributes do not fit.
    """
    require_float32("conv_local_grad", g, w)
    windows = _windows("conv_local_grad", g.shape, x_shape, w.shape, stride, pads, dilation, group)
    gradient = np.ascontiguousarray(np.moveaxis(g, 1, -1))
    dx = np.zeros((g.shape[0], *windows.padded_size(), x_shape[1]), np.float32)
    outputs, inputs = w.shape[0] // group, w.shape[1]
    by_tap: Float32Array = np.moveaxis(w, (0, 1), (-2, -1))
    with np.errstate(all="ignore"):
        for images, rows in windows.blocks(g.shape[0], math.prod(gradient.shape[2:])):
            for tap in windows.taps():
                target = dx[(images, *windows.tap_slices(tap, rows))]
                kernel = by_tap[tap]
                own = gradient[images, rows]
                if inputs == outputs == 1:
                    target += own * kernel[:, 0]
                    continue
                for i in range(group):
                    produced = slice(i * outputs, (i + 1) * outputs)
                    target[..., i * inputs : (i + 1) * inputs] += own[..., produced] @ kernel[produced]
    inside = tuple(slice(windows.pads[d], windows.pads[d] + windows.size[d]) for d in range(windows.rank))
    return np.moveaxis(dx[(slice(None), *inside)], -1, 1)


def conv_weight_grad(
    g: Float32Array,
    x: Float32Array,
    *,
    w_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Float32Array:
    """dw [O, C/group, kernel...] of the gradient g [N, O, output...] and x [N, C, spatial...].

    Raises as :func:`conv_local_grad`.
    """
    require_float32("conv_weight_grad", g, x)
    windows = _windows("conv_weight_grad", g.shape, x.shape, w_shape, stride, pads, dilation, group)
    gradient = np.ascontiguousarray(np.moveaxis(g, 1, -1))
    padded = windows.pad_channels_last(x, 0.0)
    with np.errstate(all="ignore"):
        if w_shape[1] == 1 and w_shape[0] == group:
            return _depthwise_weight_grad(gradient, padded, w_shape, windows)
        outputs, inputs = w_shape[0] // group, w_shape[1]
        taps = math.prod(windows.kernel)
        total = np.zeros((group, outputs, taps * inputs), np.float32)
        for i in range(group):
            unfolded = windows_view(padded[..., i * inputs : (i + 1) * inputs], windows)
            produced = slice(i * outputs, (i + 1) * outputs)
            row = math.prod(unfolded.shape[2:])
            for images, rows in windows.blocks(g.shape[0], row, PATCH_ELEMENTS):
                patches = unfolded[images, rows].reshape(-1, taps * inputs)
                total[i] += gradient[images, rows, ..., produced].reshape(-1, outputs).T @ patches
    by_tap = total.reshape(w_shape[0], *windows.kernel, inputs)
    return np.ascontiguousarray(np.moveaxis(by_tap, -1, 1))


def _depthwise_weight_grad(
    gradient: Float32Array, padded: Float32Array, w_shape: Sequence[int], windows: Windows
) -> Float32Array:
    by_tap = np.zeros((*windows.kernel, w_shape[0]), np.float32)
    for images, rows in windows.blocks(gradient.shape[0], math.prod(gradient.shape[2:])):
        own = gradient[images, rows]
        for tap in windows.taps():
            products = own * padded[(images, *windows.tap_slices(tap, rows))]
            by_tap[tap] += products.reshape(-1, w_shape[0]).sum(axis=0)
    return np.ascontiguousarray(np.moveaxis(by_tap, -1, 0)[:, np.newaxis])


def _windows(
    op: str,
    g_shape: Sequence[int],
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Windows:
    if x_shape[1] != w_shape[1] * group or w_shape[0] % group:
        raise ValueError(f"{op} of {list(x_shape)} with {list(w_shape)} in {group} groups")
    windows = Windows.over(x_shape, kernel=w_shape[2:], stride=stride, pads=pads, dilation=dilation)
    expected = (x_shape[0], w_shape[0], *windows.output_size)
    if tuple(g_shape) != expected:
        raise ValueError(f"{op}: gradient of shape {list(g_shape)} where y has shape {list(expected)}")
    return windows
