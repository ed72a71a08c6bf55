"""Weight gradient of a convolution, position by position (numerics specification, section 2).

The images of a run at one position are reduced by one matrix product, those of a block of positions by one
call; the rounded products are then added in order. Padding adds zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import Patches, blocks_of, channels_last
from flexc.numerics.exact_arithmetic import FloatDtype

_BLOCK_BYTES = 1 << 20


def weight_grad_by_positions(
    g: BlockTensor, x: BlockTensor, geometry: ConvGeometry, batch_runs: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    """dw [O, C / group, kernel...]; ``batch_runs`` cut the images."""
    if use_compiled():
        from flexc.numerics.compiled import weight_gradient as compiled

        return compiled.weight_grad_by_positions(g, x, geometry, batch_runs, dtype)
    groups, channels, taps = geometry.group, geometry.w_shape[1], prod(geometry.kernel)
    outputs = geometry.w_shape[0] // groups
    gradients = np.ascontiguousarray(channels_last(g.values), dtype)
    windows = Patches.of(x.values, geometry, dtype).windows
    dw = np.zeros((groups, outputs, taps, channels), np.float32)
    add = _add_depthwise if outputs == channels == 1 else _add_groups
    for run in batch_runs:
        of_position = windows.itemsize * (run.stop - run.start) * taps * x.shape[1]
        for _, lines in blocks_of((1, *geometry.y_spatial), max(1, _BLOCK_BYTES // of_position)):
            add(gradients[run, lines], windows[run, lines], dw)
    return np.ascontiguousarray(np.moveaxis(dw, 2, 3)).reshape(geometry.w_shape)


def _add_groups(gradients: NDArray[Any], windows: NDArray[Any], dw: NDArray[np.float32]) -> None:
    """Add the positions of gradients [n, positions..., O] and windows [n, positions..., taps..., C].

    dw is [groups, outputs, taps, channels].
    """
    groups, outputs, _, channels = dw.shape
    by_position = gradients.reshape(len(gradients), -1, groups, outputs).transpose(2, 1, 3, 0)
    for group, (left, of_group) in enumerate(zip(by_position, dw, strict=True)):
        patches = np.ascontiguousarray(windows[..., group * channels : (group + 1) * channels])
        right = patches.reshape(*patches.shape[:1], left.shape[0], -1).transpose(1, 0, 2)
        acc = of_group.reshape(outputs, -1)
        for product in np.matmul(left, right).astype(np.float32, copy=False):
            np.add(acc, product, out=acc)


def _add_depthwise(gradients: NDArray[Any], windows: NDArray[Any], dw: NDArray[np.float32]) -> None:
    """:func:`_add_groups` where each channel is a group with one output."""
    channels, _, taps, _ = dw.shape
    acc = dw.reshape(channels, taps).T
    kernel = windows.shape[gradients.ndim - 1 : -1]
    sums = [
        (gradients * windows[..., *tap, :]).sum(axis=0).reshape(-1, channels) for tap in np.ndindex(kernel)
    ]
    for product in np.stack(sums, axis=1).astype(np.float32, copy=False):
        np.add(acc, product, out=acc)
