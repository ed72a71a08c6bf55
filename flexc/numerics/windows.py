"""Sliding windows over the spatial dimensions of an image tensor [N, C, spatial...], as ONNX defines them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from flexc.numerics.elementwise import Float32Array

BLOCK_ELEMENTS = 1 << 17
"""512 KiB of output at a time: it stays in the second-level cache while one tap after the other joins."""


@dataclass(frozen=True)
class Windows:
    """A window of `kernel` taps moved over `size` positions; one entry a spatial dimension.

    `pads` lists the begins, then the ends. With `ceil_mode` a last, partly covered window is kept when it
    starts inside the tensor or its leading padding.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError when the attributes do not fit together or leave no output."""
        rank = len(self.size)
        lengths = {len(self.kernel), len(self.stride), len(self.dilation), len(self.pads) / 2}
        if lengths != {rank}:
            raise ValueError(f"window attributes do not match {rank} spatial dimensions: {self}")
        if min((*self.kernel, *self.stride, *self.dilation), default=1) < 1 or min(self.pads, default=0) < 0:
            raise ValueError(f"window attributes out of range: {self}")
        if min(self.output_size, default=1) < 1:
            raise ValueError(f"the window is larger than the padded input: {self}")

    @classmethod
    def over(
        cls,
        shape: Sequence[int],
        *,
        kernel: Sequence[int],
        stride: Sequence[int] | None,
        pads: Sequence[int] | None,
        dilation: Sequence[int] | None,
        ceil_mode: bool = False,
    ) -> Windows:
        """The windows over a tensor of `shape` [N, C, spatial...]; missing attributes are 1, 0 and 1."""
        rank = len(kernel)
        return cls(
            tuple(shape[2:]),
            tuple(kernel),
            tuple(stride or (1,) * rank),
            tuple(pads or (0,) * (2 * rank)),
            tuple(dilation or (1,) * rank),
            ceil_mode,
        )

    @property
    def rank(self) -> int:
        """The number of spatial dimensions."""
        return len(self.size)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Window positions in each dimension."""
        return tuple(self._positions(dim) for dim in range(self.rank))

    def _positions(self, dim: int) -> int:
        begin, end = self.pads[dim], self.pads[dim + self.rank]
        free = self.size[dim] + begin + end - self.dilation[dim] * (self.kernel[dim] - 1) - 1
        if not self.ceil_mode:
            return free // self.stride[dim] + 1
        positions = -(-free // self.stride[dim]) + 1
        starts_outside = (positions - 1) * self.stride[dim] >= self.size[dim] + begin
        return positions - starts_outside

    def padded_size(self) -> tuple[int, ...]:
        """The extent that the windows touch, leading padding included, in each dimension."""
        return tuple(
            max(
                (out - 1) * self.stride[dim] + self.dilation[dim] * (self.kernel[dim] - 1) + 1,
                self.size[dim] + self.pads[dim],
            )
            for dim, out in enumerate(self.output_size)
        )

    def pad_channels_last(self, x: Float32Array, fill: float) -> Float32Array:
        """x [N, C, spatial...] as a C-contiguous [N, padded spatial..., C], `fill` around it."""
        last = np.moveaxis(x, 1, -1)
        padded_size = self.padded_size()
        if padded_size == self.size:
            return np.ascontiguousarray(last)
        padded = np.full((x.shape[0], *padded_size, x.shape[1]), fill, np.float32)
        inside = tuple(slice(self.pads[d], self.pads[d] + self.size[d]) for d in range(self.rank))
        padded[(slice(None), *inside)] = last
        return padded

    def taps(self) -> Iterator[tuple[int, ...]]:
        """The kernel's positions in row-major order."""
        return product(*(range(extent) for extent in self.kernel))

    def blocks(
        self, images: int, elements_per_row: int, block_elements: int = BLOCK_ELEMENTS
    ) -> Iterator[tuple[slice, slice]]:
        """(images, rows of the output's first spatial dimension) in runs of about `block_elements`.

        Several images at a time where all of their rows fit, otherwise some rows of one image.
        """
        height = self.output_size[0]
        rows = max(1, block_elements // max(1, elements_per_row))
        together = max(1, rows // height)
        for image in range(0, images, together):
            for first in range(0, height, rows):
                yield slice(image, min(image + together, images)), slice(first, min(first + rows, height))

    def tap_slices(self, tap: tuple[int, ...], rows: slice) -> tuple[slice, ...]:
        """Where one tap of the windows lies in the padded spatial dimensions, for some rows of output."""
        ranges = (rows, *(slice(0, out) for out in self.output_size[1:]))
        return tuple(
            slice(
                offset * self.dilation[dim] + run.start * self.stride[dim],
                offset * self.dilation[dim] + (run.stop - 1) * self.stride[dim] + 1,
                self.stride[dim],
            )
            for dim, (offset, run) in enumerate(zip(tap, ranges, strict=True))
        )

    def covered(self, dim: int, *, with_padding: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """For each window position of a dimension, the taps that lie on the tensor (or also on `pads`)."""
        starts = np.arange(self.output_size[dim]) * self.stride[dim] - self.pads[dim]
        positions = starts[:, None] + np.arange(self.kernel[dim]) * self.dilation[dim]
        low = -self.pads[dim] if with_padding else 0
        high = self.size[dim] + (self.pads[dim + self.rank] if with_padding else 0)
        return np.asarray(((positions >= low) & (positions < high)).sum(axis=1), np.int64)
