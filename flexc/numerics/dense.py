"""Contractions of the fp32 profile: BLAS products, whose order of summation is not fixed.

The promise of equal bytes does not cover them (numerics specification, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.windows import Windows

PATCH_ELEMENTS = 1 << 18
"""1 MiB of unfolded windows at a time: they are read back from the second-level cache."""


def matmul(a: Float32Array, b: Float32Array, bias: Float32Array | None = None) -> Float32Array:
    """a [..., M, K] times b [..., K, N], batch dimensions broadcast; the bias is added last.

    Raises TypeError when an operand is not fp32, ValueError when the shapes do not fit.
    """
    require_float32("matmul", a, b)
    with np.errstate(all="ignore"):
        y = np.matmul(a, b)
        return y if bias is None else np.add(y, bias)


def conv(
    x: Float32Array,
    w: Float32Array,
    bias: Float32Array | None = None,
    *,
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    group: int = 1,
) -> Float32Array:
    """x [N, C, spatial...] with w [O, C/group, kernel...] -> [N, O, output...], channels-last in memory.

    One to three spatial dimensions; `pads`: begins, then ends; the bias [O] is added last. Raises TypeError
    when an operand is not fp32, ValueError when shapes and attributes do not fit.
    """
    require_float32("conv", x, w)
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"conv of {x.shape} with {w.shape} in {group} groups")
    windows = Windows.over(x.shape, kernel=w.shape[2:], stride=stride, pads=pads, dilation=dilation)
    padded = windows.pad_channels_last(x, 0.0)
    out = np.empty((x.shape[0], *windows.output_size, w.shape[0]), np.float32)
    with np.errstate(all="ignore"):
        if w.shape[1] == 1 and w.shape[0] == group:
            _depthwise(padded, w, windows, out)
        else:
            inputs, outputs = w.shape[1], w.shape[0] // group
            for g in range(group):
                produced = slice(g * outputs, (g + 1) * outputs)
                kernel = np.ascontiguousarray(np.moveaxis(w[produced], (0, 1), (-1, -2)))
                channels = padded[..., g * inputs : (g + 1) * inputs]
                _unfolded_product(channels, kernel, windows, out[..., produced])
        if bias is not None:
            require_float32("conv", bias)
            out += bias
    return np.moveaxis(out, -1, 1)


def _depthwise(padded: Float32Array, w: Float32Array, windows: Windows, out: Float32Array) -> None:
    """out = the sum over taps of the shifted input times the tap's weights, channel by channel."""
    # Weights repeated along all but the first spatial dimension make one long run of each row.
    by_channel: Float32Array = np.moveaxis(w[:, 0], 0, -1)
    by_tap = {tap: np.broadcast_to(by_channel[tap], out.shape[2:]).copy() for tap in windows.taps()}
    for images, rows in windows.blocks(out.shape[0], math.prod(out.shape[2:])):
        total = out[images, rows]
        product = np.empty_like(total)
        total[...] = 0
        for tap, weights in by_tap.items():
            np.multiply(padded[(images, *windows.tap_slices(tap, rows))], weights, out=product)
            total += product


def _unfolded_product(
    padded: Float32Array, kernel: Float32Array, windows: Windows, out: Float32Array
) -> None:
    """out [N, output..., O] = windows of padded [N, spatial..., C] times kernel [taps..., C, O]."""
    columns = kernel.reshape(-1, kernel.shape[-1])
    unfolded = windows_view(padded, windows)
    for images, rows in windows.blocks(out.shape[0], math.prod(unfolded.shape[2:]), PATCH_ELEMENTS):
        patches = unfolded[images, rows].reshape(-1, columns.shape[0])
        target = out[images, rows]
        if target.flags.c_contiguous:
            np.matmul(patches, columns, out=target.reshape(-1, columns.shape[1]))
        else:
            target[...] = np.matmul(patches, columns).reshape(target.shape)


def windows_view(padded: Float32Array, windows: Windows) -> Float32Array:
    """[N, output..., taps..., C], without a copy."""
    spatial = padded.strides[1:-1]
    return np.lib.stride_tricks.as_strided(
        padded,
        (padded.shape[0], *windows.output_size, *windows.kernel, padded.shape[-1]),
        (
            padded.strides[0],
            *(step * moved for step, moved in zip(spatial, windows.stride, strict=True)),
            *(step * spread for step, spread in zip(spatial, windows.dilation, strict=True)),
            padded.strides[-1],
        ),
        writeable=False,
    )
