"""Forward convolution of block tensors (numerics specification, section 2).

Three ways. Where no group of x and w together holds two taps (which the default tiles ensure), patches of
a padded channels-last buffer are laid out as rows, (taps, channels) long, and contracted with the weight;
depthwise weights multiply and add tap by tap instead. Tiles that a window splits go position by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import (
    FP32,
    FP64,
    FloatDtype,
    contract_rows,
    exact_dtype,
    finish,
    longest,
    run_slices,
)
from flexc.numerics.contraction_bounds import (
    LengthBound,
    columns_bound,
    least_exponent,
    rows_exact_as_a_whole,
    squares_are_safe,
)
from flexc.numerics.convolution_depthwise import depthwise_conv
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import Patches, pad_channels_last, taps_are_separate, windows_of
from flexc.numerics.convolution_reference import block_conv_reference
from flexc.numerics.convolution_windows import conv_by_positions

_BLOCK_BYTES = 1 << 20


def block_conv(
    x: BlockTensor,
    w: BlockTensor,
    bias: NDArray[np.float32] | None = None,
    *,
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """y [N, O, spatial...] of x [N, C, spatial...], w [O, C / group, kernel...], bias [O]; channels last.

    ``pads`` are all begins, then all ends. Raises ValueError for shapes or attributes that do not belong
    together, NonFiniteError where a rounding overflows.
    """
    geometry = ConvGeometry.of(x.shape, w.shape, stride=stride, pads=pads, dilation=dilation, group=group)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        y = _conv(x, w, geometry)
        if y is None:
            return block_conv_reference(x, w, bias, stride=stride, pads=pads, dilation=dilation, group=group)
    return np.moveaxis(finish(y, bias, "block_conv"), -1, 1)


def _conv(x: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.float32] | None:
    """y [N, spatial..., O] without a bias, or None where only the reference is exact."""
    if not taps_are_separate(x, w, geometry.kernel):
        segment = min(prod(w.shape[1:]), prod(x.tile[1:]), prod(w.tile[1:]))
        dtype = exact_dtype(x, w, segment)
        return None if dtype is None else conv_by_positions(x, w, geometry, dtype)
    if w.shape[1] == 1:
        return depthwise_conv(x, w, geometry)
    channels = w.shape[1]
    runs = [run_slices(channels, (g * channels, x.tile[1]), (0, w.tile[1])) for g in range(geometry.group)]
    dtype = exact_dtype(x, w, max(longest(cut) for cut in runs))
    return None if dtype is None else _conv_by_patches(x, w, geometry, runs, dtype)


def _conv_by_patches(
    x: BlockTensor, w: BlockTensor, geometry: ConvGeometry, runs: Sequence[Sequence[slice]], dtype: FloatDtype
) -> NDArray[np.float32]:
    channels, outputs = w.shape[1], w.shape[0] // geometry.group
    taps = prod(geometry.kernel)
    weights = w.prepared(
        ("patch columns", geometry.group, dtype), lambda: _patch_columns(w, geometry.group, dtype)
    )
    whole = _exact_patches(x, w, geometry) if dtype == FP32 else None
    y = np.empty((x.shape[0], *geometry.y_spatial, w.shape[0]), np.float32)
    patches = Patches.of(x.values, geometry, dtype)
    for block in patches.blocks(_BLOCK_BYTES // (dtype.itemsize * taps * channels)):
        for g, cut in enumerate(runs):
            rows = patches.rows(block, slice(g * channels, (g + 1) * channels))
            segments = [
                slice(t * channels + c.start, t * channels + c.stop) for c in cut for t in range(taps)
            ]
            target = y[block][..., g * outputs : (g + 1) * outputs]
            acc = (
                target.reshape(-1, outputs)
                if geometry.group == 1
                else np.empty((len(rows), outputs), np.float32)
            )
            contract_rows(rows, weights[g], segments, None if whole is None else whole[block].ravel(), acc)
            if geometry.group > 1:
                target[...] = acc.reshape(target.shape)
    return y


def _patch_columns(w: BlockTensor, group: int, dtype: FloatDtype) -> NDArray[Any]:
    """w as [group, taps * channels, outputs], contiguous."""
    outputs = w.shape[0] // group
    by_group = w.values.reshape(group, outputs, w.shape[1], -1)
    columns = by_group.transpose(0, 3, 2, 1).reshape(group, -1, outputs)
    return np.ascontiguousarray(columns, dtype)


def _exact_patches(x: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.bool_] | None:
    """[N, spatial...]: the positions whose outputs need no segments, whatever the conv group."""
    if not squares_are_safe(x, prod(w.shape[1:])):
        return None
    columns = columns_bound(w, tuple(range(1, len(w.shape))))
    squared = np.einsum("nc...,nc...->n...", x.values, x.values)
    exponent = least_exponent(x, (1,))
    padded_squares = pad_channels_last(squared[:, np.newaxis], geometry, FP64, 0)[..., 0]
    padded_exponents = pad_channels_last(exponent[:, np.newaxis], geometry, np.dtype(np.uint8), 255)[..., 0]
    y_dims = (x.shape[0], *geometry.y_spatial)
    window_squares = np.zeros(y_dims)
    window_exponent = np.full(y_dims, 255, np.uint8)
    for window in windows_of(geometry):
        window_squares += padded_squares[window]
        np.minimum(window_exponent, padded_exponents[window], out=window_exponent)
    rows = LengthBound(window_squares, window_exponent, x.format.magnitude_bits)
    whole = rows_exact_as_a_whole(rows, columns)
    return None if whole is None else whole.reshape(y_dims)
