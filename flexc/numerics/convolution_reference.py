"""The three passes of a convolution one product at a time, as the text says (section 2); slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction_reference import Index, Term, add_bias, sum_of_products
from flexc.numerics.convolution_geometry import ConvGeometry


def block_conv_reference(
    x: BlockTensor,
    w: BlockTensor,
    bias: NDArray[np.float32] | None = None,
    *,
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.block_conv` must return."""
    geometry = ConvGeometry.of(x.shape, w.shape, stride=stride, pads=pads, dilation=dilation, group=group)
    y = np.zeros(geometry.y_shape, np.float32)
    for index in np.ndindex(y.shape):
        y[index] = sum_of_products(x, w, _forward_terms(geometry, index))
    per_channel = None if bias is None else bias.reshape(-1, *[1] * len(geometry.kernel))
    return add_bias(y, per_channel, "block_conv")


def _forward_terms(geometry: ConvGeometry, index: Index) -> Iterator[Term]:
    n, o, *output = index
    channels = geometry.w_shape[1]
    first_channel = o // (geometry.w_shape[0] // geometry.group) * channels
    for c, tap in product(range(channels), np.ndindex(geometry.kernel)):
        position = _each(geometry.input_position, output, tap)
        if position is not None:
            yield (n, first_channel + c, *position), (o, c, *tap)


def block_conv_local_grad_reference(
    g: BlockTensor,
    w: BlockTensor,
    *,
    x_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.block_conv_local_grad` must return."""
    geometry = ConvGeometry.of(x_shape, w.shape, stride=stride, pads=pads, dilation=dilation, group=group)
    geometry.require_gradient(g.shape)
    dx = np.zeros(geometry.x_shape, np.float32)
    for index in np.ndindex(dx.shape):
        dx[index] = sum_of_products(g, w, _local_grad_terms(geometry, index))
    return add_bias(dx, None, "block_conv_local_grad")


def _local_grad_terms(geometry: ConvGeometry, index: Index) -> Iterator[Term]:
    n, channel, *position = index
    outputs = geometry.w_shape[0] // geometry.group
    conv_group, c = divmod(channel, geometry.w_shape[1])
    for o, tap in product(
        range(conv_group * outputs, (conv_group + 1) * outputs), np.ndindex(geometry.kernel)
    ):
        output = _each(geometry.output_position, position, tap)
        if output is not None:
            yield (n, o, *output), (o, c, *tap)


def block_conv_weight_grad_reference(
    g: BlockTensor,
    x: BlockTensor,
    *,
    w_shape: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.block_conv_weight_grad` must return."""
    geometry = ConvGeometry.of(x.shape, w_shape, stride=stride, pads=pads, dilation=dilation, group=group)
    geometry.require_gradient(g.shape)
    dw = np.zeros(geometry.w_shape, np.float32)
    for index in np.ndindex(dw.shape):
        dw[index] = sum_of_products(g, x, _weight_grad_terms(geometry, index))
    return add_bias(dw, None, "block_conv_weight_grad")


def _weight_grad_terms(geometry: ConvGeometry, index: Index) -> Iterator[Term]:
    o, c, *tap = index
    channel = o // (geometry.w_shape[0] // geometry.group) * geometry.w_shape[1] + c
    for n, output in product(range(geometry.x_shape[0]), np.ndindex(geometry.y_spatial)):
        position = _each(geometry.input_position, output, tap)
        if position is not None:
            yield (n, o, *output), (n, channel, *position)


def _each(
    along: Callable[[int, int, int], int | None], where: Sequence[int], tap: Sequence[int]
) -> Index | None:
    found = [along(axis, at, t) for axis, (at, t) in enumerate(zip(where, tap, strict=True))]
    return None if None in found else tuple(at for at in found if at is not None)
