"""Max and average pooling over one to three spatial dimensions (numerics specification, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from flexc.numerics.elementwise import Float32Array, require_float32
from flexc.numerics.reductions import has_negative_zero
from flexc.numerics.vector import maximum
from flexc.numerics.windows import Windows


class Join(Protocol):
    """A two-operand operation that writes where it is told."""

    def __call__(self, best: Float32Array, tap: Float32Array, /, *, out: Float32Array) -> Float32Array: ...


def max_pool(
    x: Float32Array,
    *,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Float32Array:
    """The first maximum of each window in row-major order; padding never wins; NaN does.

    x [N, C, spatial...] -> [N, C, output...], channels-last in memory. `pads`: begins, then ends.
    Raises TypeError when x is not fp32, ValueError for attributes that do not fit x.
    """
    x = np.asarray(x)
    require_float32("max_pool", x)
    windows = Windows.over(
        x.shape, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
    )
    padded = windows.pad_channels_last(x, -np.inf)
    # Without -0 equal values have equal bits, so which of them wins does not show.
    join = _first_maximum if has_negative_zero(x) else np.maximum
    best = np.full((x.shape[0], *windows.output_size, x.shape[1]), -np.inf, np.float32)
    _fold_taps(join, padded, windows, best)
    return np.moveaxis(best, -1, 1)


def average_pool(
    x: Float32Array,
    *,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Float32Array:
    """The sum of each window in row-major order from +0, divided by the count of its elements.

    The count is of the elements on the tensor, or with `count_include_pad` of those on the tensor and its
    `pads` (never of what `ceil_mode` adds). Shapes and errors as :func:`max_pool`.
    """
    x = np.asarray(x)
    require_float32("average_pool", x)
    windows = Windows.over(
        x.shape, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
    )
    padded = windows.pad_channels_last(x, 0.0)
    count = np.ones((), np.int64)
    for dim in range(windows.rank):
        count = np.multiply.outer(count, windows.covered(dim, with_padding=count_include_pad))
    total = np.zeros((x.shape[0], *windows.output_size, x.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        # A padded tap joins +0, which changes no sum that started from +0.
        _fold_taps(np.add, padded, windows, total)
        total /= count.astype(np.float32)[..., None]
    return np.moveaxis(total, -1, 1)


def _fold_taps(join: Join, padded: Float32Array, windows: Windows, out: Float32Array) -> None:
    """out = join(out, tap) for the taps in row-major order, block by block of rows."""
    for images, rows in windows.blocks(out.shape[0], math.prod(out.shape[2:])):
        target = out[images, rows]
        for tap in windows.taps():
            join(target, padded[(images, *windows.tap_slices(tap, rows))], out=target)


def _first_maximum(best: Float32Array, tap: Float32Array, *, out: Float32Array) -> Float32Array:
    out[...] = maximum(best, tap)
    return out
