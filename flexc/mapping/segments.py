"""Segments of the reduced axis: runs that lie in one group of both operands (numerics, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from flexc.mapping.problem import ContractionProblem


def segment_lengths(start: int, stop: int, cuts: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Lengths of the runs of ``start .. stop`` between the boundaries of every tiling ``(offset, group)``.

    ``offset`` is where index 0 lies on the axis that groups of ``group`` elements are laid on.
    """
    bounds = {start, stop}
    for offset, group in cuts:
        first = start + group - (start + offset) % group
        bounds.update(range(first, stop, group))
    ordered = sorted(bounds)
    return tuple(after - before for before, after in pairwise(ordered))


def cuts_of(problem: ContractionProblem, g: int) -> tuple[tuple[int, int], ...]:
    """The tilings that cut ``k`` in conv group (or batch) ``g``."""
    if problem.extent("k") == 1:
        return ()
    a_offset = g * problem.extent("k") if problem.grouped_channels else 0
    return ((a_offset, problem.a_group), (0, problem.b_group))


@lru_cache(maxsize=4096)
def tile_segments(problem: ContractionProblem, g: int, start: int, stop: int) -> tuple[int, ...]:
    """Segment lengths of ``k`` in ``start .. stop`` of conv group ``g``."""
    return segment_lengths(start, stop, cuts_of(problem, g))


def same_in_every_group(problem: ContractionProblem) -> bool:
    """Whether all conv groups are cut alike."""
    return (
        not problem.grouped_channels or problem.extent("k") == 1 or problem.extent("k") % problem.a_group == 0
    )
