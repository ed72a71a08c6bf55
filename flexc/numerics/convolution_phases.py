"""What each position of x gathers its gradient from, sorted by its rest modulo the stride (section 2).

Positions that leave the same rest are reached by the same taps, and from one to the next the outputs move on
by one: a phase is a convolution of stride 1 over the padded gradient, whose taps walk backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import pad_spatial


@dataclass(frozen=True)
class AxisPhase:
    """Positions first, first + stride, ... of x along one axis, ``count`` of them.

    ``taps`` are those that reach them, in order; each reads the padded gradient from its entry of
    ``sources`` on.
    """

    first: int
    count: int
    taps: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Phase:
    """One phase of every axis."""

    axes: tuple[AxisPhase, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(axis.count for axis in self.axes)

    @property
    def taps(self) -> tuple[tuple[int, ...], ...]:
        """The taps of each axis."""
        return tuple(axis.taps for axis in self.axes)

    def target(self, geometry: ConvGeometry) -> tuple[slice, ...]:
        """Where its positions are in [N, spatial..., C]."""
        starts = zip(self.axes, geometry.stride, strict=True)
        return slice(None), *(slice(axis.first, None, stride) for axis, stride in starts)

    def weights_of(self, w: NDArray[Any]) -> NDArray[Any]:
        """The taps [.., .., taps...] of a weight [.., .., kernel...]."""
        for axis, taps in enumerate(self.taps, start=2):
            w = np.take(w, taps, axis=axis)
        return w

    def windows(self, padded: NDArray[Any]) -> NDArray[Any]:
        """A view [N, positions..., taps..., channels] of the padded gradient [N, spatial..., channels]."""
        start = padded[:, *(slice(axis.sources[0], None) for axis in self.axes)]
        spatial = padded.strides[1:-1]
        steps = (axis.sources[1] - axis.sources[0] if len(axis.taps) > 1 else 0 for axis in self.axes)
        tap_strides = (stride * step for stride, step in zip(spatial, steps, strict=True))
        return as_strided(
            start,
            (len(padded), *self.sizes, *map(len, self.taps), padded.shape[-1]),
            (padded.strides[0], *spatial, *tap_strides, padded.strides[-1]),
            writeable=False,
        )

    def reduce_windows(self, combine: np.ufunc, padded: NDArray[Any]) -> NDArray[Any]:
        """[N, positions...]: ``combine`` over the window of each position in padded [N, spatial...]."""
        for number, axis in enumerate(self.axes, start=1):
            before = (slice(None),) * number
            windows = [padded[(*before, slice(first, first + axis.count))] for first in axis.sources]
            padded = windows[0].copy()
            for window in windows[1:]:
                combine(padded, window, out=padded)
        return padded


@dataclass(frozen=True)
class Phases:
    """The phases that any tap reaches, and the padding [spatial] that their reads need."""

    phases: tuple[Phase, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]

    @classmethod
    def of(cls, geometry: ConvGeometry) -> Phases:
        """Of a local gradient."""
        axes = [tuple(_axis_phases(geometry, axis)) for axis in range(len(geometry.kernel))]
        begins, ends = [], []
        for outputs, phases in zip(geometry.y_spatial, axes, strict=True):
            reads = [(source, source + phase.count) for phase in phases for source in phase.sources]
            begins.append(max(0, -min((first for first, _ in reads), default=0)))
            ends.append(max(0, max((stop for _, stop in reads), default=0) - outputs))
        moved = [
            tuple(_behind(begin, one) for one in phases) for begin, phases in zip(begins, axes, strict=True)
        ]
        return cls(tuple(Phase(one) for one in product(*moved)), tuple(begins), tuple(ends))

    def pad(self, g: NDArray[Any], dtype: np.dtype[Any], fill: int) -> NDArray[Any]:
        """g [N, O, spatial...] as contiguous padded [N, spatial..., O] of ``dtype``."""
        return pad_spatial(g, self.pads_begin, self.pads_end, dtype, fill)


def _axis_phases(geometry: ConvGeometry, axis: int) -> Iterator[AxisPhase]:
    stride, size = geometry.stride[axis], geometry.x_spatial[axis]
    for first in range(min(stride, size)):
        reached = first + geometry.pads_begin[axis]
        hits = [
            (tap, (reached - tap * geometry.dilation[axis]) // stride)
            for tap in range(geometry.kernel[axis])
            if (reached - tap * geometry.dilation[axis]) % stride == 0
        ]
        if hits:
            taps, sources = zip(*hits, strict=True)
            yield AxisPhase(first, -(-(size - first) // stride), taps, sources)


def _behind(padding: int, phase: AxisPhase) -> AxisPhase:
    moved = tuple(source + padding for source in phase.sources)
    return AxisPhase(phase.first, phase.count, phase.taps, moved)
