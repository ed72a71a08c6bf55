"""Convolutions whose groups reach across taps: segments differ from position to position.

Each pass sweeps the spatial indices of its outputs; at each, the spatial indices that it reduces are cut
into runs that stay in one group of either operand, and each run of all axes together is one small product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import BlockTensor
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.exact_arithmetic import FloatDtype


@dataclass(frozen=True)
class _Run:
    """Indices along one axis of each operand, pairwise multiplied, within one group of both."""

    a: NDArray[np.intp]
    b: NDArray[np.intp]


def _runs(pairs: Sequence[tuple[int, int]], tile_a: int, tile_b: int) -> list[_Run]:
    """Cut ``pairs``, in canonical order, wherever the group of either operand changes."""
    bounds = [
        at
        for at in range(1, len(pairs))
        if pairs[at][0] // tile_a != pairs[at - 1][0] // tile_a
        or pairs[at][1] // tile_b != pairs[at - 1][1] // tile_b
    ]
    indices = np.array(pairs, np.intp).reshape(-1, 2)
    return [_Run(part[:, 0], part[:, 1]) for part in np.split(indices, bounds) if len(part)]


def _sweep(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    outer_runs: Sequence[_Run],
    axis_runs: Sequence[Sequence[Sequence[_Run]]],
    dtype: FloatDtype,
) -> NDArray[np.float32]:
    """y [swept..., rows, columns] of a [rows, outer, spatial...] and b [columns, outer, spatial...].

    ``axis_runs[axis][i]`` are the runs reduced along a spatial axis for index ``i`` of the outputs.
    """
    swept = tuple(len(runs) for runs in axis_runs)
    y = np.zeros((*swept, a.shape[0], b.shape[0]), np.float32)
    for index in np.ndindex(swept):
        acc = y[index]
        for runs in product(outer_runs, *(axis_runs[axis][i] for axis, i in enumerate(index))):
            a_part = a[(slice(None), *np.ix_(*(run.a for run in runs)))].reshape(a.shape[0], -1)
            b_part = b[(slice(None), *np.ix_(*(run.b for run in runs)))].reshape(b.shape[0], -1)
            exact = a_part.astype(dtype) @ b_part.T.astype(dtype)
            acc += exact.astype(np.float32)
    return y


def _pairs(
    along: Callable[[int, int, int], int | None], axis: int, outputs: int, reduced: int, *, swap: bool = False
) -> list[list[tuple[int, int]]]:
    """For each output index, the pairs (``along(axis, ., .)``, reduced index) that exist.

    With ``swap`` the reduced index is the first argument of ``along`` (outputs are taps, positions reduced).
    """
    found: list[list[tuple[int, int]]] = []
    for output in range(outputs):
        pairs = []
        for inner in range(reduced):
            other = along(axis, inner, output) if swap else along(axis, output, inner)
            if other is not None:
                pairs.append((other, inner))
        found.append(pairs)
    return found


def conv_by_positions(
    x: BlockTensor, w: BlockTensor, geometry: ConvGeometry, dtype: FloatDtype
) -> NDArray[np.float32]:
    """Forward: y [N, spatial..., O]."""
    channels, outputs = w.shape[1], w.shape[0] // geometry.group
    axis_runs = [
        [
            _runs(pairs, x.tile[axis + 2], w.tile[axis + 2])
            for pairs in _pairs(geometry.input_position, axis, geometry.y_spatial[axis], taps)
        ]
        for axis, taps in enumerate(geometry.kernel)
    ]
    y = np.empty((*geometry.y_spatial, x.shape[0], w.shape[0]), np.float32)
    for g in range(geometry.group):
        first = g * channels
        outer = _runs([(first + c, c) for c in range(channels)], x.tile[1], w.tile[1])
        own = slice(g * outputs, (g + 1) * outputs)
        y[..., own] = _sweep(x.values, w.values[own], outer, axis_runs, dtype)
    return np.ascontiguousarray(np.moveaxis(y, -2, 0))


def local_grad_by_positions(
    g: BlockTensor, w: BlockTensor, geometry: ConvGeometry, dtype: FloatDtype
) -> NDArray[np.float32]:
    """Local gradient: dx [N, spatial..., C]."""
    channels, outputs = w.shape[1], w.shape[0] // geometry.group
    axis_runs = [
        [
            _runs(pairs, g.tile[axis + 2], w.tile[axis + 2])
            for pairs in _pairs(geometry.output_position, axis, geometry.x_spatial[axis], taps)
        ]
        for axis, taps in enumerate(geometry.kernel)
    ]
    dx = np.empty((*geometry.x_spatial, *geometry.x_shape[:2]), np.float32)
    weights = np.swapaxes(w.values, 0, 1)
    for conv_group in range(geometry.group):
        own = range(conv_group * outputs, (conv_group + 1) * outputs)
        outer = _runs([(o, o) for o in own], g.tile[1], w.tile[0])
        at = slice(conv_group * channels, (conv_group + 1) * channels)
        dx[..., at] = _sweep(g.values, weights, outer, axis_runs, dtype)
    return np.ascontiguousarray(np.moveaxis(dx, -2, 0))


def weight_grad_by_taps(
    g: BlockTensor, x: BlockTensor, geometry: ConvGeometry, dtype: FloatDtype
) -> NDArray[np.float32]:
    """Weight gradient: dw [O, C / group, kernel...]."""
    channels, outputs = geometry.w_shape[1], geometry.w_shape[0] // geometry.group
    axis_runs = []
    for axis, taps in enumerate(geometry.kernel):
        by_tap = _pairs(geometry.input_position, axis, taps, geometry.y_spatial[axis], swap=True)
        swapped = [[(output, position) for position, output in pairs] for pairs in by_tap]
        axis_runs.append([_runs(pairs, g.tile[axis + 2], x.tile[axis + 2]) for pairs in swapped])
    outer = _runs([(n, n) for n in range(geometry.x_shape[0])], g.tile[0], x.tile[0])
    gradients, inputs = np.swapaxes(g.values, 0, 1), np.swapaxes(x.values, 0, 1)
    dw = np.empty((*geometry.kernel, geometry.w_shape[0], channels), np.float32)
    for conv_group in range(geometry.group):
        own = slice(conv_group * outputs, (conv_group + 1) * outputs)
        at = slice(conv_group * channels, (conv_group + 1) * channels)
        dw[..., own, :] = _sweep(gradients[own], inputs[at], outer, axis_runs, dtype)
    return np.ascontiguousarray(np.moveaxis(dw, (-2, -1), (0, 1)))
