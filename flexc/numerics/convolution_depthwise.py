"""Depthwise convolution of block tensors, forward: each tap is a segment of one product.

RN32 of a product of two exactly held mantissas is what one fp32 multiplication gives, at any exponents,
so each tap is a rounded multiplication and a rounded addition; padding adds zeros, which change nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.aligned import aligned_empty
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import blocks_of, channels_last

_BLOCK_ELEMENTS = 1 << 16
_LONGEST_LINE = 1 << 15


def depthwise_conv(
    x: BlockTensor, w: BlockTensor, bias: NDArray[np.float32] | None, geometry: ConvGeometry
) -> NDArray[np.float32]:
    """y [N, spatial..., O] of w [O, 1, kernel...], taps separate."""
    outputs, line = w.shape[0], geometry.y_spatial[-1]
    last = channels_last(x.values)
    if outputs > geometry.group:
        last = np.repeat(last, outputs // geometry.group, axis=-1)
    if use_compiled():
        from flexc.numerics.compiled import depthwise as compiled

        taps = w.prepared("taps", lambda: _repeated_taps(w.values, 1)[:, 0])
        y = compiled.depthwise_conv(np.ascontiguousarray(last), taps, geometry)
        return y if bias is None else np.add(y, bias, out=y)
    phases = _phases(last, geometry)
    windows = [phases[_window(geometry, tap)] for tap in np.ndindex(geometry.kernel)]
    # Weights as long as a line of outputs make one inner loop of it, where it is not too long.
    repeats = line if line * outputs <= _LONGEST_LINE else 1
    taps = w.prepared(f"taps for {repeats}", lambda: _repeated_taps(w.values, repeats))
    closing = np.float32(0) if bias is None else bias + np.float32(0)

    y = aligned_empty((x.shape[0], *geometry.y_spatial, outputs), np.float32)
    blocks = list(blocks_of(y.shape[:-1], max(1, _BLOCK_ELEMENTS // outputs)))
    scratch = aligned_empty((max((y[block].size for block in blocks), default=0),), np.float32)
    for block in blocks:
        acc = y[block]
        product = scratch[: acc.size].reshape(acc.shape)
        np.multiply(windows[0][block], taps[0], out=acc)
        for window, tap in zip(windows[1:], taps[1:], strict=True):
            np.multiply(window[block], tap, out=product)
            np.add(acc, product, out=acc)
        # A zero of sign + added last does what starting from it would.
        np.add(acc, closing, out=acc)
    return y


def _repeated_taps(w: NDArray[np.float32], repeats: int) -> NDArray[np.float32]:
    """w [O, 1, kernel...] as [taps, repeats, O]."""
    taps = w.reshape(w.shape[0], -1).T
    return np.ascontiguousarray(np.broadcast_to(taps[:, np.newaxis], (len(taps), repeats, taps.shape[1])))


def _phases(last: NDArray[np.float32], geometry: ConvGeometry) -> NDArray[np.float32]:
    """[N, ..., W, C] padded, as [N, ..., stride, ceil(padded W / stride), C].

    The last axis is dealt out by its stride, so that what a tap reads of a line is contiguous.
    """
    stride, begin = geometry.stride[-1], geometry.pads_begin[-1]
    *outer, padded_width = (
        size + before + after
        for size, before, after in zip(
            geometry.x_spatial, geometry.pads_begin, geometry.pads_end, strict=True
        )
    )
    shape = (last.shape[0], *outer, stride, -(-padded_width // stride), last.shape[-1])
    phases = aligned_empty(shape, np.float32)
    phases.fill(0)
    inside = tuple(
        slice(before, before + size)
        for before, size in zip(geometry.pads_begin[:-1], geometry.x_spatial[:-1], strict=True)
    )
    interior = phases[(slice(None), *inside)]
    for phase in range(stride):
        first = (phase - begin) % stride
        part = last[..., first::stride, :]
        at = (first + begin) // stride
        interior[..., phase, at : at + part.shape[-2], :] = part
    return phases


def _window(geometry: ConvGeometry, tap: tuple[int, ...]) -> tuple[slice | int, ...]:
    """What ``tap`` reads for all outputs: an index into the phases."""
    along = [
        slice(t * dilation, t * dilation + (outputs - 1) * stride + 1, stride)
        for t, dilation, outputs, stride in zip(
            tap[:-1], geometry.dilation[:-1], geometry.y_spatial[:-1], geometry.stride[:-1], strict=True
        )
    ]
    start, phase = divmod(tap[-1] * geometry.dilation[-1], geometry.stride[-1])
    return slice(None), *along, phase, slice(start, start + geometry.y_spatial[-1])
