"""Gradients of a convolution of block tensors (numerics specification, section 2).

Where taps, or positions, are segments of their own (as the default tiles make them) there is a fast way for
each gradient; other tiles go position by position, or to the reference where no float arithmetic is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import longest, require_finite_result, run_slices
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_local_gradient import depthwise_local_grad, local_grad_by_phases
from flexc.numerics.convolution_patches import channels_second, taps_are_separate
from flexc.numerics.convolution_reference import (
    block_conv_local_grad_reference,
    block_conv_weight_grad_reference,
)
from flexc.numerics.convolution_weight_gradient import weight_grad_by_positions
from flexc.numerics.convolution_windows import local_grad_by_positions, weight_grad_by_taps
from flexc.numerics.exact_arithmetic import exact_dtype


def block_conv_local_grad(
    g: BlockTensor,
    w: BlockTensor,
    *,
    x_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """dx [N, C, spatial...] of the gradient g [N, O, spatial...] and w; channels last in memory.

    Raises as :func:`flexc.numerics.block_conv` does.
    """
    geometry = ConvGeometry.of(x_shape, w.shape, stride=stride, pads=pads, dilation=dilation, group=group)
    geometry.require_gradient(g.shape)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        dx = _local_grad(g, w, geometry)
    if dx is None:
        return block_conv_local_grad_reference(
            g, w, x_shape=x_shape, stride=stride, pads=pads, dilation=dilation, group=group
        )
    result = channels_second(dx)
    terms = w.shape[0] // group * prod(geometry.kernel)
    require_finite_result(result, g, w, terms, None, "block_conv_local_grad")
    return result


def _local_grad(g: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.float32] | None:
    outputs = w.shape[0] // geometry.group
    if not taps_are_separate(g, w, geometry.kernel):
        segment = min(outputs, g.tile[1], w.tile[0]) * min(
            prod(geometry.kernel), prod(g.tile[2:]), prod(w.tile[2:])
        )
        dtype = exact_dtype(g, w, segment)
        return None if dtype is None else local_grad_by_positions(g, w, geometry, dtype)
    if outputs == 1 and w.shape[1] == 1:
        return depthwise_local_grad(g, w, geometry)
    runs = [
        run_slices(outputs, (i * outputs, g.tile[1]), (i * outputs, w.tile[0])) for i in range(geometry.group)
    ]
    dtype = exact_dtype(g, w, max(longest(cut) for cut in runs))
    return None if dtype is None else local_grad_by_phases(g, w, geometry, runs, dtype)


def block_conv_weight_grad(
    g: BlockTensor,
    x: BlockTensor,
    *,
    w_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """dw [O, C / group, kernel...] of the gradient g [N, O, spatial...] and x [N, C, spatial...].

    Raises as :func:`flexc.numerics.block_conv` does.
    """
    geometry = ConvGeometry.of(x.shape, w_shape, stride=stride, pads=pads, dilation=dilation, group=group)
    geometry.require_gradient(g.shape)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        dw = _weight_grad(g, x, geometry)
    if dw is None:
        return block_conv_weight_grad_reference(
            g, x, w_shape=w_shape, stride=stride, pads=pads, dilation=dilation, group=group
        )
    terms = x.shape[0] * prod(geometry.y_spatial)
    require_finite_result(dw, g, x, terms, None, "block_conv_weight_grad")
    return dw


def _weight_grad(g: BlockTensor, x: BlockTensor, geometry: ConvGeometry) -> NDArray[np.float32] | None:
    batch_runs = run_slices(g.shape[0], (0, g.tile[0]), (0, x.tile[0]))
    outputs_are_separate = all(
        extent == 1 or g_tile == 1 or x_tile == 1
        for extent, g_tile, x_tile in zip(geometry.y_spatial, g.tile[2:], x.tile[2:], strict=True)
    )
    if outputs_are_separate:
        dtype = exact_dtype(g, x, longest(batch_runs))
        return None if dtype is None else weight_grad_by_positions(g, x, geometry, batch_runs, dtype)
    segment = longest(batch_runs) * min(prod(geometry.y_spatial), prod(g.tile[2:]), prod(x.tile[2:]))
    dtype = exact_dtype(g, x, segment)
    return None if dtype is None else weight_grad_by_taps(g, x, geometry, dtype)
