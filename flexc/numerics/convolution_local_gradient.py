"""Local gradient of a convolution whose taps are segments of their own (numerics specification, section 2).

Phase by phase of the stride (:mod:`convolution_phases`) it is the contraction that the forward pass is, with
output channels and taps reduced. Depthwise, each tap is a rounded product and a rounded sum instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.acceleration import use_compiled
from flexc.numerics.block_float import BlockTensor
from flexc.numerics.contraction_bounds import (
    NO_GROUP,
    LengthBound,
    bound_pays,
    columns_bound,
    least_exponent,
    rows_exact_as_a_whole,
    squares_are_safe,
)
from flexc.numerics.convolution_geometry import ConvGeometry
from flexc.numerics.convolution_patches import Patches, channels_last, contract_patches, tap_segments
from flexc.numerics.convolution_phases import Phase, Phases
from flexc.numerics.exact_arithmetic import FP32, FloatDtype, columns_of


def local_grad_by_phases(
    g: BlockTensor,
    w: BlockTensor,
    geometry: ConvGeometry,
    runs: Sequence[Sequence[slice]],
    dtype: FloatDtype,
) -> NDArray[np.float32]:
    """dx [N, spatial..., C]; ``runs`` cut the outputs of each conv group."""
    if use_compiled():
        from flexc.numerics.compiled import convolution as compiled

        return compiled.local_grad_by_phases(g, w, geometry, runs, dtype)
    groups, outputs = geometry.group, w.shape[0] // geometry.group
    plan = Phases.of(geometry)
    padded = plan.pad(g.values, dtype, 0)
    dx = np.zeros((g.shape[0], *geometry.x_spatial, geometry.x_shape[1]), np.float32)
    bounds = _Bounds.of(g, w, plan) if dtype == FP32 and _bound_pays(plan, runs, dx.size, g) else None
    for phase in plan.phases:
        taps = prod(map(len, phase.taps))
        columns = columns_of(w, f"{phase.taps} in {groups} groups", dtype, partial(_columns, groups, phase))
        whole = None if bounds is None else bounds.exact_positions(phase)
        segments = [tap_segments(cut, taps, outputs) for cut in runs]
        is_matrix = taps == 1 and phase.sizes == padded.shape[1:-1]
        patches = Patches(phase.windows(padded), len(phase.axes), is_matrix)
        target = dx[phase.target(geometry)]
        acc = target if target.flags.c_contiguous else np.empty(target.shape, np.float32)
        contract_patches(patches, columns, segments, whole, None, acc)
        if acc is not target:
            target[...] = acc
    return dx


def _columns(groups: int, phase: Phase, w: NDArray[np.float32]) -> NDArray[np.float32]:
    """The taps of a phase, of w [O, channels, kernel...], as [groups, taps * outputs, channels]."""
    by_group = phase.weights_of(w).reshape(groups, w.shape[0] // groups, w.shape[1], -1)
    return by_group.transpose(0, 3, 1, 2).reshape(groups, -1, w.shape[1])


def _bound_pays(plan: Phases, runs: Sequence[Sequence[slice]], results: int, g: BlockTensor) -> bool:
    taps = max((prod(map(len, phase.taps)) for phase in plan.phases), default=0)
    return bound_pays(taps * max(map(len, runs)), results, prod(g.shape))


@dataclass(frozen=True)
class _Bounds:
    """Squared lengths and least exponents of the padded gradient [N, spatial...], and those of the weight."""

    squared: NDArray[np.float32]
    exponent: NDArray[np.uint8]
    magnitude_bits: int
    columns: LengthBound | None

    @classmethod
    def of(cls, g: BlockTensor, w: BlockTensor, plan: Phases) -> _Bounds | None:
        """None where squares may leave the range of fp32."""
        if not squares_are_safe(g, w.shape[0] * prod(w.shape[2:])):
            return None
        squared = np.einsum("nc...,nc...->n...", g.values, g.values)
        columns = columns_bound(w, (0, *range(2, len(w.shape))))
        return cls(
            plan.pad(squared[:, np.newaxis], FP32, 0)[..., 0],
            plan.pad(least_exponent(g, (1,))[:, np.newaxis], np.dtype(np.uint8), NO_GROUP)[..., 0],
            g.format.magnitude_bits,
            columns,
        )

    def exact_positions(self, phase: Phase) -> NDArray[np.bool_] | None:
        """[N, positions...]: those whose results need no segments, whatever the conv group."""
        rows = LengthBound(
            phase.reduce_windows(np.add, self.squared).astype(np.float64),
            phase.reduce_windows(np.minimum, self.exponent),
            self.magnitude_bits,
        )
        whole = rows_exact_as_a_whole(rows, self.columns)
        return None if whole is None else whole.reshape(rows.squared.shape)


def depthwise_local_grad(g: BlockTensor, w: BlockTensor, geometry: ConvGeometry) -> NDArray[np.float32]:
    """dx [N, spatial..., C] of w [C, 1, kernel...]."""
    gradients = channels_last(g.values)
    taps = w.values.reshape(w.shape[0], -1).T
    if use_compiled():
        from flexc.numerics.compiled import depthwise as compiled

        return compiled.depthwise_local_grad(
            np.ascontiguousarray(gradients), np.ascontiguousarray(taps), geometry
        )
    dx = np.zeros((g.shape[0], *geometry.x_spatial, geometry.x_shape[1]), np.float32)
    for tap, (target, source) in zip(taps, _landings(geometry), strict=True):
        dx[(slice(None), *target)] += gradients[(slice(None), *source)] * tap
    return dx


def _landings(geometry: ConvGeometry) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each tap, the positions of x that it reaches and the outputs that reach them, in step."""
    found = []
    for taps in np.ndindex(geometry.kernel):
        targets, sources = [], []
        for axis, tap in enumerate(taps):
            hit = [
                (position, output)
                for output in range(geometry.y_spatial[axis])
                if (position := geometry.input_position(axis, output, tap)) is not None
            ]
            first, last = (hit[0], hit[-1]) if hit else ((0, 0), (-1, -1))
            targets.append(slice(first[0], last[0] + 1, geometry.stride[axis]))
            sources.append(slice(first[1], last[1] + 1))
        found.append((tuple(targets), tuple(sources)))
    return found
