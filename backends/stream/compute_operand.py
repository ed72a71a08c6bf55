"""One operand of a compute record: its planes in a buffer, and the dequantized tile made of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import Operand, cores_apart, read
from flexc.backends.stream.box import CoreRun, Counters
from flexc.backends.stream.contraction_tiles import (
    DIMENSIONS,
    OUT,
    Arrangement,
    G,
    K,
    N,
    P,
    Q,
    R,
    S,
    Units,
    WindowAxis,
    lay_out_a,
    lay_out_b,
    merge_window,
    merged_stride,
    unit_values,
    units_along,
)
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import CORE_AXES, Space
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.segments import GroupAxis, Groups

Array = NDArray[Any]
T = TypeVar("T")
WINDOWS = ((P, R), (Q, S))
"""Output and kernel dimension of rows, and of columns."""


@dataclass(frozen=True)
class Tile:
    """A laid-out tile; ``windows`` say where in operand a the rows and columns of a kernel position are."""

    values: Array
    windows: tuple[WindowAxis, WindowAxis]


@dataclass(frozen=True)
class OperandPlanes:
    """How the planes of a run are read: with rows and columns merged, or every kernel position apart."""

    mantissa: Operand
    exponent: Operand
    run: CoreRun
    windows: tuple[WindowAxis, WindowAxis]
    merged: bool


class ComputeOperand:
    """Operand a or b of a compute record; ``axis`` is None for fp32, which has no exponents."""

    def __init__(self, name: str, mantissa: Operand, exponent: Operand, axis: GroupAxis | None) -> None:
        self.is_a = name == "a"
        self.space = Space.OPERAND if self.is_a else Space.HELD
        self.mantissa = mantissa
        self.exponent = exponent
        self.axis = axis
        self._planes_of_run: dict[CoreRun, tuple[OperandPlanes, ...]] = {}
        self._exponent_runs: dict[tuple[CoreRun, int, int], CoreRun] = {}

    def cores_apart(self, memories: Memories, run: CoreRun) -> tuple[int, ...]:
        """Along each core axis, how many cores hold something of their own.

        Raises StreamFault where the operand is not in its buffer.
        """
        for operand in (self.mantissa, self.exponent):
            if operand.present and operand.slot(memories).space is not self.space:
                raise StreamFault(f"is not in the {self.space.name.lower()} buffer", operand=operand.name)
        cores = cores_apart(self.mantissa, memories, run)
        if self.axis is None:
            return cores
        return tuple(map(max, cores, cores_apart(self.exponent, memories, run)))

    def exponent_range(
        self, memories: Memories, run: CoreRun, counters: Counters, groups: Groups
    ) -> tuple[int, int]:
        """The least exponent above 0, whose groups hold zeros only, and the largest; (256, 0) without any."""

        def measure() -> tuple[int, int]:
            exponents = self._exponents(self.planes(run)[-1], memories, counters, groups)
            # Zero wraps to 255 and drops out of the minimum.
            return int((exponents - np.uint8(1)).min()) + 1, int(exponents.max())

        return self.derived(self.exponent, memories, (run, groups.tobytes(), "range"), measure)

    def tile(
        self,
        memories: Memories,
        run: CoreRun,
        counters: Counters,
        groups: Groups | None,
        arrangement: Arrangement,
        dtype: Any,
    ) -> Tile:
        """The dequantized elements of a run. Raises StreamFault where one cannot be read."""

        def build() -> Tile:
            *preferred, last = self.planes(run)
            for planes in preferred:
                try:
                    return self._build(planes, memories, counters, groups, arrangement, dtype)
                except StreamFault:
                    # Rows between those that are needed may hold nothing.
                    continue
            return self._build(last, memories, counters, groups, arrangement, dtype)

        place = b"" if groups is None else groups.tobytes()
        return self.derived(self.mantissa, memories, (run, place, arrangement, dtype), build)

    def derived(self, operand: Operand, memories: Memories, key: Hashable, build: Callable[[], T]) -> T:
        """What was built last from the buffer of an operand, or is built now if it has changed."""
        stamp = 0 if self.axis is None else self.exponent.slot(memories).current.stamp
        kept = operand.slot(memories).current.derived
        place = (id(self), key)
        found = kept.get(place)
        if found is None or found[0] != stamp:
            found = kept[place] = (stamp, build())
        value: T = found[1]
        return value

    def planes(self, run: CoreRun) -> tuple[OperandPlanes, ...]:
        """The ways to read a run, the best first; the last reads exactly what the record does."""
        found = self._planes_of_run.get(run)
        if found is None:
            rows, columns = (
                WindowAxis(run.count[output] * run.count[tap], run.count[tap], 1) for output, tap in WINDOWS
            )
            exact = OperandPlanes(self.mantissa, self.exponent, run, (rows, columns), merged=False)
            merged = self._merged(run) if self.is_a else None
            found = self._planes_of_run[run] = (exact,) if merged is None else (merged, exact)
        return found

    def _merged(self, run: CoreRun) -> OperandPlanes | None:
        operands = [self.mantissa] if self.axis is None else [self.mantissa, self.exponent]
        count = list(run.count)
        strides = [list(operand.position_stride) for operand in operands]
        windows = []
        for output, tap in WINDOWS:
            outputs, taps = run.count[output], run.count[tap]
            pairs = [(row[output], row[tap]) for row in strides]
            window = merge_window(outputs, taps, pairs)
            if window is None:
                return None
            for row, pair in zip(strides, pairs, strict=True):
                row[output], row[tap] = merged_stride(outputs, taps, window, pair), 0
            count[output], count[tap] = window.extent, 1
            windows.append(window)
        views = [operand.restrided(tuple(row)) for operand, row in zip(operands, strides, strict=True)]
        merged_run = CoreRun(run.first, run.cores, run.low, tuple(count))
        return OperandPlanes(views[0], views[-1], merged_run, (windows[0], windows[1]), merged=True)

    def exponent_run(self, planes: OperandPlanes, groups: Groups) -> CoreRun:
        """The run of the exponents of ``groups``, one a group along the group axis."""
        assert self.axis is not None
        low, count = list(planes.run.low), list(planes.run.count)
        count[K] = 1
        grouped = G if self.axis.along_g else K
        low[grouped], count[grouped] = int(groups.min()), int(groups.max() - groups.min() + 1)
        key = (planes.run, low[grouped], count[grouped])
        run = self._exponent_runs.get(key)
        if run is None:
            run = CoreRun(planes.run.first, planes.run.cores, tuple(low), tuple(count))
            self._exponent_runs[key] = run
        return run

    def _exponents(
        self, planes: OperandPlanes, memories: Memories, counters: Counters, groups: Groups
    ) -> Array:
        """uint8 [core axes, g n p q o k r s], one a group along the group axis."""
        assert self.axis is not None
        run = self.exponent_run(planes, groups)
        exponents = read(planes.exponent, memories, run, counters)
        shape = list(exponents.shape)
        grouped = CORE_AXES + (G if self.axis.along_g else K)
        shape[grouped] = run.count[grouped - CORE_AXES]
        return np.broadcast_to(exponents, shape)

    def _build(
        self,
        planes: OperandPlanes,
        memories: Memories,
        counters: Counters,
        groups: Groups | None,
        arrangement: Arrangement,
        dtype: Any,
    ) -> Tile:
        own_dims = (G, N, P, Q, K, R, S) if self.is_a else (G, OUT, K, R, S)
        extents = tuple(n if d in own_dims else 1 for d, n in enumerate(planes.run.count))
        mantissa = read(planes.mantissa, memories, planes.run, counters)
        mantissa = np.broadcast_to(mantissa, (*mantissa.shape[:CORE_AXES], *extents))
        units: list[Units] = []
        if self.axis is not None:
            assert groups is not None
            table = unit_values(self.mantissa.format, dtype)
            found = table[self._exponents(planes, memories, counters, groups)]
            units = units_along(found, self.axis, groups)
        if self.is_a and not planes.merged:
            mantissa = _apart(mantissa, extents)
            units = [Units(part.first, part.end, _apart(part.values, extents)) for part in units]
        lay_out = lay_out_a if self.is_a else lay_out_b
        return Tile(lay_out(mantissa, units, arrangement, dtype), planes.windows)


def _apart(values: Array, extents: tuple[int, ...]) -> Array:
    """Rows for every (p, r) and columns for every (q, s) of [core axes, g n p q o k r s]."""
    g, n, p, q, o, k, r, s = DIMENSIONS
    full = list(values.shape)
    for d in (P, Q, R, S):
        full[CORE_AXES + d] = extents[d]
    wide = np.broadcast_to(values, full).transpose((*range(CORE_AXES), g, n, p, r, q, s, o, k))
    lead = wide.shape[: CORE_AXES + 2]
    return wide.reshape(*lead, extents[P] * extents[R], extents[Q] * extents[S], *wide.shape[-2:], 1, 1)
