"""Weight gradient of a convolution, position by position (numerics specification, section 2).

Operands are laid out as [outer spatial axes..., N, last spatial axis, channels]: the images of a position
are a constant step apart, and taps that are neighbours along the last axis read neighbouring columns. The
product of a position and a run of images is summed exactly before it is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.compiled.contraction import correlate, panel_width
from flexc.numerics.compiled.jit import kernel
from flexc.numerics.compiled.offsets import box_offsets
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import channels_last
from flexc.numerics.exact_arithmetic import FP32, FloatDtype


def weight_grad_by_positions(
    g: BlockTensor, x: BlockTensor, geometry: ConvGeometry, batch_runs: Sequence[slice], dtype: FloatDtype
) -> NDArray[np.float32]:
    """dw [O, C / group, kernel...]; ``batch_runs`` cut the images."""
    groups, channels, taps = geometry.group, geometry.w_shape[1], geometry.kernel
    outputs = geometry.w_shape[0] // groups
    depthwise = outputs == channels == 1
    none = (0,) * len(taps)
    left = _Operand.of(g.values, none, none, dtype, 0)
    right = _Operand.of(x.values, geometry.pads_begin, geometry.pads_end, FP32, panel_width(dtype))
    runs = np.array([(run.start, run.stop - run.start) for run in batch_runs], np.int64)
    at_output = box_offsets(geometry.y_spatial, left.strides, (1,) * len(taps))
    at_window = box_offsets(geometry.y_spatial, right.strides, geometry.stride)

    merged = taps[-1] if groups == 1 and not depthwise and geometry.dilation[-1] == 1 else 1
    apart = (*taps[:-1], taps[-1] // merged)
    at_tap = np.add.outer(at_window, box_offsets(apart, right.strides, geometry.dilation))
    if depthwise:
        by_tap = np.zeros((prod(apart), groups), np.float32)
        sums = np.empty(groups, dtype)
        _correlate_channels(
            left.memory, left.step, at_output, right.memory, right.step, at_tap, runs, sums, by_tap
        )
        return np.ascontiguousarray(by_tap.T).reshape(geometry.w_shape)
    y = np.empty((groups, prod(apart), outputs, merged * channels), np.float32)
    for group, of_group in enumerate(y):
        correlate(
            left.memory[group * outputs :],
            left.step,
            at_output,
            right.memory[group * channels :],
            right.step,
            at_tap,
            runs,
            panel_width(dtype),
            of_group,
        )
    by_column = y.reshape(groups, prod(apart), outputs, merged, channels)
    return np.ascontiguousarray(by_column.transpose(0, 2, 4, 1, 3)).reshape(geometry.w_shape)


@dataclass(frozen=True)
class _Operand:
    """``memory``, flat; images are ``step`` apart, positions along the spatial axes ``strides``."""

    memory: NDArray[Any]
    step: int
    strides: tuple[int, ...]

    @classmethod
    def of(
        cls, x: NDArray[Any], begins: Sequence[int], ends: Sequence[int], dtype: FloatDtype, slack: int
    ) -> _Operand:
        """Lays out x [N, C, spatial...] with zeros around it, and ``slack`` elements behind."""
        images, channels, *spatial = x.shape
        padded = [size + begin + end for size, begin, end in zip(spatial, begins, ends, strict=True)]
        shape = (*padded[:-1], images, padded[-1], channels)
        size = prod(shape)
        memory = aligned_empty((size + slack,), dtype)
        memory[size:] = 0
        laid_out = memory[:size].reshape(shape)
        if padded != spatial:
            laid_out.fill(0)
        *outer, last = (slice(begin, begin + size) for begin, size in zip(begins, spatial, strict=True))
        laid_out[(*outer, slice(None), last)] = np.moveaxis(channels_last(x), 0, -3)
        *of_outer, step, along_last, _ = (stride // memory.itemsize for stride in laid_out.strides)
        return cls(memory, step, (*of_outer, along_last))


@kernel
def _correlate_channels(
    left: Any,
    step: Any,
    left_starts: Any,
    right: Any,
    pitch: Any,
    right_starts: Any,
    runs: Any,
    sums: Any,
    y: Any,
) -> None:
    """y [taps, channels]: :func:`correlate` of each channel with itself; ``sums`` [channels] are exact."""
    taps, channels = y.shape
    for run in range(len(runs)):
        start, length = runs[run]
        for position in range(left_starts.size):
            for tap in range(taps):
                sums[:] = 0
                for k in range(start, start + length):
                    at = left_starts[position] + k * step
                    a = left[at : at + channels]
                    at = right_starts[position, tap] + k * pitch
                    b = right[at : at + channels]
                    for c in range(channels):
                        sums[c] += a[c] * b[c]
                of_tap = y[tap]
                for c in range(channels):
                    of_tap[c] += np.float32(sums[c])
