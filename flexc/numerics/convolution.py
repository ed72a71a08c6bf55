"""Forward convolution of block tensors (numerics specification, section 2).

Three ways. Where no group of x and w together holds two taps (which the default tiles ensure), patches of
a padded channels-last buffer are laid out as rows, (taps, channels) long, and contracted with the weight;
depthwise weights multiply and add tap by tap instead. Tiles that a window splits go position by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import longest, require_finite_result, run_slices
from flexc.numerics.contraction_bounds import (
    NO_GROUP,
    LengthBound,
    bound_pays,
    columns_bound,
    least_exponent,
    rows_exact_as_a_whole,
    squares_are_safe,
)
from flexc.numerics.convolution_depthwise import depthwise_conv
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import (
    Patches,
    channels_second,
    contract_patches,
    reduce_windows,
    tap_segments,
    taps_are_separate,
)
from flexc.numerics.convolution_reference import block_conv_reference
from flexc.numerics.convolution_windows import conv_by_positions
from flexc.numerics.exact_arithmetic import FP32, FloatDtype, columns_of, exact_dtype


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
    if bias is not None and bias.shape != w.shape[:1]:
        raise ValueError(f"bias of shape {list(bias.shape)} for {w.shape[0]} output channels")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        y = _conv(x, w, bias, geometry)
    if y is None:
        return block_conv_reference(x, w, bias, stride=stride, pads=pads, dilation=dilation, group=group)
    result = channels_second(y)
    require_finite_result(result, x, w, prod(w.shape[1:]), bias, "block_conv")
    return result


def _conv(
    x: BlockTensor, w: BlockTensor, bias: NDArray[np.float32] | None, geometry: ConvGeometry
) -> NDArray[np.float32] | None:
    """y [N, spatial..., O], or None where only the reference is exact."""
    if not taps_are_separate(x, w, geometry.kernel):
        segment = min(prod(w.shape[1:]), prod(x.tile[1:]), prod(w.tile[1:]))
        dtype = exact_dtype(x, w, segment)
        if dtype is None:
            return None
        y = conv_by_positions(x, w, geometry, dtype)
        return y if bias is None else y + bias
    if w.shape[1] == 1:
        return depthwise_conv(x, w, bias, geometry)
    channels = w.shape[1]
    runs = [run_slices(channels, (g * channels, x.tile[1]), (0, w.tile[1])) for g in range(geometry.group)]
    dtype = exact_dtype(x, w, max(longest(cut) for cut in runs))
    if dtype is None:
        return None
    if use_compiled():
        from flexc.numerics.compiled import convolution as compiled

        return compiled.conv_by_patches(x, w, bias, geometry, runs, dtype)
    return _conv_by_patches(x, w, bias, geometry, runs, dtype)


def _conv_by_patches(
    x: BlockTensor,
    w: BlockTensor,
    bias: NDArray[np.float32] | None,
    geometry: ConvGeometry,
    runs: Sequence[Sequence[slice]],
    dtype: FloatDtype,
) -> NDArray[np.float32]:
    groups, channels, taps = geometry.group, w.shape[1], prod(geometry.kernel)
    columns = columns_of(w, f"patches in {groups} groups", dtype, partial(_patch_columns, groups))
    y = aligned_empty((x.shape[0], *geometry.y_spatial, w.shape[0]), np.float32)
    patches = Patches.of(x.values, geometry, dtype)
    segments = [tap_segments(cut, taps, channels) for cut in runs]
    whole = None
    if dtype == FP32 and bound_pays(max(len(cut) for cut in segments), y.size, x.values.size):
        whole = _exact_patches(x, w, geometry)
    contract_patches(patches, columns, segments, whole, bias, y)
    return y


def _patch_columns(groups: int, w: NDArray[np.float32]) -> NDArray[np.float32]:
    """w [O, channels, kernel...] as [groups, taps * channels, outputs]."""
    by_group = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1)
    return by_group.transpose(0, 3, 2, 1).reshape(groups, -1, by_group.shape[1])


def _exact_patches(x: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.bool_] | None:
    """[N, spatial...]: the positions whose outputs need no segments, whatever the conv group."""
    if not squares_are_safe(x, prod(w.shape[1:])):
        return None
    columns = columns_bound(w, tuple(range(1, len(w.shape))))
    squared = np.einsum("nc...,nc...->n...", x.values, x.values)
    rows = LengthBound(
        reduce_windows(np.add, squared, geometry, 0).astype(np.float64),
        reduce_windows(np.minimum, least_exponent(x, (1,)), geometry, NO_GROUP),
        x.format.magnitude_bits,
    )
    whole = rows_exact_as_a_whole(rows, columns)
    return None if whole is None else whole.reshape(x.shape[0], *geometry.y_spatial)
