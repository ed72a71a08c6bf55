"""Buffer occupancy and DRAM bandwidth over the course of a program, in equal stretches of it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.activity import Executions, Holdings

Integers: TypeAlias = NDArray[np.int64]
Reals: TypeAlias = NDArray[np.float64]


def stretch_edges(cycles: int, stretches: int) -> Integers:
    """The edges of at most ``stretches`` equal stretches of whole cycles; the last may be shorter."""
    width = max(1, -(-cycles // stretches))
    return np.append(np.arange(0, max(1, cycles), width, dtype=np.int64), max(1, cycles))


def peak_occupancy(holdings: Holdings, edges: Integers) -> Integers:
    """The most bytes of a core that are full at once, in each stretch between neighbouring edges."""
    times = np.concatenate([holdings.start, holdings.end])
    changes = np.concatenate([holdings.size_bytes, -holdings.size_bytes])
    # What ends at a cycle makes room for what starts at it.
    order = np.lexsort((changes, times))
    times, levels = times[order], np.cumsum(changes[order])
    settled = np.append(times[1:] != times[:-1], True) if times.size else np.zeros(0, bool)
    times, levels = times[settled], levels[settled]
    before = np.searchsorted(times, edges[:-1], side="right") - 1
    peaks = np.where(before >= 0, levels[before] if levels.size else 0, 0).astype(np.int64)
    within = np.searchsorted(edges, times, side="right") - 1
    inside = within < len(peaks)
    np.maximum.at(peaks, within[inside], levels[inside])
    return peaks


def bytes_per_cycle(executions: Executions, edges: Integers) -> Reals:
    """Mean bytes a cycle that an engine moves in each stretch; a transfer counts as even while it lasts."""
    moving = executions.moved_bytes > 0
    start, end, moved = executions.start[moving], executions.end[moving], executions.moved_bytes[moving]
    if not moved.size:
        return np.zeros(len(edges) - 1)
    total = np.cumsum(moved)
    # An engine does one thing after the other, so what it has moved is piecewise linear in time.
    times = np.stack([start, end], axis=1).ravel()
    amounts = np.stack([total - moved, total], axis=1).ravel()
    return np.diff(np.interp(edges, times, amounts)) / np.diff(edges)
