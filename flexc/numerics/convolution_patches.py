"""Patches of a padded channels-last buffer, laid out as the rows of a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction import contract_rows, rows_per_block
from flexc.numerics.convolution_geometry import ConvGeometry

Block = tuple[slice, slice]
"""Images, and positions along the first spatial axis of y."""


def taps_are_separate(windowed: BlockTensor, other: BlockTensor, kernel: tuple[int, ...]) -> bool:
    """Whether every tap of a window is a segment of its own: along each axis one of the tiles is 1."""
    return all(
        taps == 1 or windowed.tile[axis] == 1 or other.tile[axis] == 1
        for axis, taps in enumerate(kernel, start=2)
    )


def reduce_windows(combine: np.ufunc, x: NDArray[Any], geometry: ConvGeometry, fill: int) -> NDArray[Any]:
    """``combine`` over the window of every output, axis by axis: x [N, spatial...], y [N, spatial...]."""
    reduced = pad_channels_last(x[:, np.newaxis], geometry, x.dtype, fill)[..., 0]
    for axis, taps in enumerate(geometry.kernel):
        stride, outputs = geometry.stride[axis], geometry.y_spatial[axis]
        windows = [
            reduced[(slice(None),) * (axis + 1) + (slice(first, first + (outputs - 1) * stride + 1, stride),)]
            for first in range(0, taps * geometry.dilation[axis], geometry.dilation[axis])
        ]
        reduced = windows[0].copy()
        for window in windows[1:]:
            combine(reduced, window, out=reduced)
    return reduced


def channels_last(x: NDArray[Any]) -> NDArray[Any]:
    """[N, C, ...] seen as [N, ..., C]."""
    return x.transpose(0, *range(2, x.ndim), 1)


def channels_second(y: NDArray[Any]) -> NDArray[Any]:
    """[N, ..., C] seen as [N, C, ...]."""
    return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))


def pad_channels_last(
    x: NDArray[Any], geometry: ConvGeometry, dtype: np.dtype[Any], fill: int
) -> NDArray[Any]:
    """x [N, C, spatial...] as contiguous [N, spatial..., C] of ``dtype`` with the padding put in."""
    return pad_spatial(x, geometry.pads_begin, geometry.pads_end, dtype, fill)


def pad_spatial(
    x: NDArray[Any], begins: Sequence[int], ends: Sequence[int], dtype: np.dtype[Any], fill: int
) -> NDArray[Any]:
    """x [N, C, spatial...] as contiguous [N, spatial..., C], with ``fill`` before and after each axis."""
    last = channels_last(x)
    if not any((*begins, *ends)):
        return np.ascontiguousarray(last, dtype)
    sizes = [size + begin + end for size, begin, end in zip(x.shape[2:], begins, ends, strict=True)]
    padded = aligned_empty((x.shape[0], *sizes, x.shape[1]), dtype)
    padded.fill(fill)
    inside = tuple(slice(begin, begin + size) for begin, size in zip(begins, x.shape[2:], strict=True))
    padded[(slice(None), *inside)] = last
    return padded


def blocks_of(positions: tuple[int, ...], size: int) -> Iterator[Block]:
    """Cut positions [N, spatial...] into blocks of about ``size``: whole images, or lines of one image."""
    images, lines = positions[:2]
    line = prod(positions[2:])
    image_step = max(1, size // (lines * line))
    line_step = lines if image_step > 1 else max(1, size // line)
    for image in range(0, images, image_step):
        for start in range(0, lines, line_step):
            yield slice(image, image + image_step), slice(start, min(start + line_step, lines))


@dataclass(frozen=True)
class Patches:
    """The windows of x: ``windows`` is a view [N, spatial of y..., taps..., C] of the padded buffer."""

    windows: NDArray[Any]
    spatial_rank: int
    is_matrix: bool

    @classmethod
    def of(cls, x: NDArray[np.float32], geometry: ConvGeometry, dtype: np.dtype[Any]) -> Patches:
        """Pad x [N, C, spatial...] and look at its windows."""
        padded = pad_channels_last(x, geometry, dtype, 0)
        spatial = padded.strides[1:-1]
        step = tuple(s * n for s, n in zip(spatial, geometry.stride, strict=True))
        tap_step = tuple(s * n for s, n in zip(spatial, geometry.dilation, strict=True))
        windows = as_strided(
            padded,
            (x.shape[0], *geometry.y_spatial, *geometry.kernel, x.shape[1]),
            (padded.strides[0], *step, *tap_step, padded.strides[-1]),
            writeable=False,
        )
        return cls(windows, len(spatial), prod(geometry.kernel) == 1 and max(geometry.stride) == 1)

    def blocks(self, rows: int) -> Iterator[Block]:
        """Cut all positions into blocks of about ``rows``."""
        return blocks_of(self.windows.shape[: 1 + self.spatial_rank], rows)

    def rows(self, block: Block, channels: slice) -> NDArray[Any]:
        """The block's patches as [positions, taps * channels]; a view where the buffer is such a matrix."""
        view = self.windows[block][..., channels]
        positions = prod(view.shape[: 1 + self.spatial_rank])
        if self.is_matrix:
            return view.reshape(positions, view.shape[-1])
        return np.ascontiguousarray(view).reshape(positions, -1)


def tap_segments(runs: Sequence[slice], taps: int, channels: int) -> list[slice]:
    """The segments of rows [taps * channels], for runs of channels: a run's taps one after the other."""
    return [slice(t * channels + run.start, t * channels + run.stop) for run in runs for t in range(taps)]


def contract_patches(
    patches: Patches,
    columns: NDArray[Any],
    segments: Sequence[Sequence[slice]],
    whole: NDArray[np.bool_] | None,
    bias: NDArray[np.float32] | None,
    y: NDArray[np.float32],
) -> None:
    """y [N, positions..., groups * outputs] of columns [groups, taps * channels, outputs], + bias.

    ``segments`` are those of each conv group; positions that are exact as a ``whole`` need none.
    """
    groups, depth, outputs = columns.shape
    channels = depth // prod(patches.windows.shape[1 + patches.spatial_rank : -1])
    for block in patches.blocks(rows_per_block(columns)):
        exact_rows = None if whole is None else whole[block].reshape(-1)
        for g in range(groups):
            rows = patches.rows(block, slice(g * channels, (g + 1) * channels))
            own = slice(g * outputs, (g + 1) * outputs)
            target = y[block][..., own]
            acc = target.reshape(-1, outputs) if groups == 1 else np.empty((len(rows), outputs), np.float32)
            contract_rows(rows, columns[g], segments[g], exact_rows, None if bias is None else bias[own], acc)
            if groups > 1:
                target[...] = acc.reshape(target.shape)
