"""Forward convolution and matrix products by :mod:`flexc.numerics.compiled.contraction`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.compiled.contraction import contract, panel_width, panels_of
from flexc.numerics.compiled.offsets import box_offsets, sums_of
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import pad_channels_last
from flexc.numerics.convolution_phases import Phases
from flexc.numerics.exact_arithmetic import FloatDtype


def matmul_shared(
    a: BlockTensor, b: BlockTensor, segments: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    """Every row of a [..., K] times b [K, N]."""
    depth, width = b.shape
    left = np.ascontiguousarray(a.values, dtype).reshape(-1)
    rows = prod(a.shape[:-1])
    y = aligned_empty((rows, width), np.float32)
    panel = panel_width(dtype)
    panels = b.prepared(("panels", panel), lambda: panels_of(b.values, panel))
    contract(left, np.arange(rows) * depth, [(k.start, k.stop - k.start) for k in segments], panels, None, y)
    return y.reshape(*a.shape[:-1], width)


def conv_by_patches(
    x: BlockTensor,
    w: BlockTensor,
    bias: NDArray[np.float32] | None,
    geometry: ConvGeometry,
    runs: Sequence[Sequence[slice]],
    dtype: FloatDtype,
) -> NDArray[np.float32]:
    """y [N, spatial..., O]; ``runs`` cut the channels of each conv group."""
    padded = pad_channels_last(x.values, geometry, dtype, 0)
    strides = [stride // padded.itemsize for stride in padded.strides]
    positions = box_offsets((len(padded), *geometry.y_spatial), strides[:-1], (1, *geometry.stride))
    taps = box_offsets(geometry.kernel, strides[1:-1], geometry.dilation).tolist()
    channels, outputs = w.shape[1], w.shape[0] // geometry.group
    width = panel_width(dtype)
    y = aligned_empty((len(padded), *geometry.y_spatial, w.shape[0]), np.float32)
    for g, cut in enumerate(runs):
        own = slice(g * outputs, (g + 1) * outputs)
        segments = [(tap + g * channels + run.start, run.stop - run.start) for run in cut for tap in taps]
        key = ("panels", width, own.start, own.stop, *((run.start, run.stop) for run in cut))
        panels = w.prepared(key, partial(_panels, w.values[own], cut, width))
        contract(
            padded.reshape(-1),
            positions,
            segments,
            panels,
            None if bias is None else bias[own],
            y.reshape(-1, w.shape[0])[:, own],
        )
    return y


def local_grad_by_phases(
    g: BlockTensor,
    w: BlockTensor,
    geometry: ConvGeometry,
    runs: Sequence[Sequence[slice]],
    dtype: FloatDtype,
) -> NDArray[np.float32]:
    """dx [N, spatial..., C]; ``runs`` cut the outputs of each conv group."""
    plan = Phases.of(geometry)
    padded = plan.pad(g.values, dtype, 0)
    strides = [stride // padded.itemsize for stride in padded.strides]
    channels, outputs = w.shape[1], w.shape[0] // geometry.group
    width = panel_width(dtype)
    dx = np.zeros((len(padded), *geometry.x_spatial, geometry.x_shape[1]), np.float32)
    for phase in plan.phases:
        positions = box_offsets((len(padded), *phase.sizes), strides[:-1], (1,) * (1 + len(phase.sizes)))
        taps = sums_of(
            [
                np.multiply(axis.sources, stride)
                for axis, stride in zip(phase.axes, strides[1:-1], strict=True)
            ]
        )
        target = dx[phase.target(geometry)]
        acc = target if target.flags.c_contiguous else aligned_empty(target.shape, np.float32)
        for conv_group, cut in enumerate(runs):
            own = slice(conv_group * outputs, (conv_group + 1) * outputs)
            weights = phase.weights_of(w.values[own]).swapaxes(0, 1)
            contract(
                padded.reshape(-1),
                positions,
                [(tap + own.start + run.start, run.stop - run.start) for run in cut for tap in taps],
                _panels(weights, cut, width),
                None,
                acc.reshape(-1, geometry.x_shape[1])[:, conv_group * channels : (conv_group + 1) * channels],
            )
        if acc is not target:
            target[...] = acc
    return dx


def _panels(w: NDArray[np.float32], cut: Sequence[slice], width: int) -> NDArray[np.float32]:
    """Of w [O, channels, kernel...]: runs of channels, in each run the taps, in each tap its channels."""
    by_tap = w.reshape(*w.shape[:2], -1).transpose(2, 1, 0)
    return panels_of(np.concatenate([by_tap[:, run].reshape(-1, len(w)) for run in cut]), width)
