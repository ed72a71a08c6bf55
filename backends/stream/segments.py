"""Where the segments of a compute record lie: cuts along k, and the group of each operand."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.decode import DecodedRecord

Groups = NDArray[np.int64]


@dataclass(frozen=True)
class GroupAxis:
    """How the groups of one operand follow the coordinates g and k: axis = g_weight * g + k_weight * k.

    ``whole`` counts groups from the tensor's first, otherwise from that of the box's first element.
    """

    g_weight: int
    k_weight: int
    group: int
    whole: bool

    @property
    def along_g(self) -> bool:
        """Whether the exponents' stride from group to group is that of g."""
        return self.g_weight > 0 and self.k_weight == 0

    def groups(self, g: Groups, k: Groups) -> Groups:
        """The group of each element [cores..., g, k] for coordinates [cores..., g] and [cores..., k].

        One entry stands for all of g where it does not matter.
        """
        along: Groups = self.k_weight * k[..., np.newaxis, :]
        if self.g_weight:
            along = along + self.g_weight * g[..., :, np.newaxis]
        groups = along // self.group
        return groups if self.whole else groups - groups[..., :1, :1]


@dataclass(frozen=True)
class Segment:
    """Positions [first, end) along k, in one group of each operand, for [g_first, g_end) along g."""

    g_first: int
    g_end: int
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a box in canonical order, and the groups of its elements [cores..., g, k].

    ``alike`` tells whether all cores' boxes are cut where the first one's is.
    """

    segments: tuple[Segment, ...]
    a_groups: Groups
    b_groups: Groups
    alike: bool

    @property
    def content(self) -> tuple[Hashable, ...]:
        """What tells these from others; segments themselves are compared by identity."""
        groups = (self.a_groups, self.b_groups)
        return (self.segments, self.alike, *((one.shape, one.tobytes()) for one in groups))

    @cached_property
    def longest(self) -> int:
        """The number of elements of the longest segment."""
        return max(segment.end - segment.first for segment in self.segments)


def cut_segments(a: GroupAxis, b: GroupAxis, g: Groups, k: Groups) -> Segments:
    """Cut boxes of coordinates [cores..., g] and [cores..., k].

    Positions along g with equal cuts stay together.
    """
    a_groups, b_groups = a.groups(g, k), b.groups(g, k)
    cut_of_cores = (np.diff(a_groups) != 0) | (np.diff(b_groups) != 0)
    cut = cut_of_cores[(0,) * (cut_of_cores.ndim - 2)]
    together = bool((cut == cut[:1]).all())
    g_count, k_count = g.shape[-1], k.shape[-1]
    blocks = [(0, g_count)] if together else [(i, i + 1) for i in range(g_count)]
    segments = []
    for g_first, g_end in blocks:
        bounds = [0, *(np.flatnonzero(cut[g_first]) + 1).tolist(), k_count]
        segments += [Segment(g_first, g_end, first, end) for first, end in pairwise(bounds)]
    return Segments(tuple(segments), a_groups, b_groups, bool((cut_of_cores == cut).all()))


def group_axis(record: DecodedRecord, operand: int) -> GroupAxis:
    """The group axis of operand a (0) or b (1) of a compute record."""
    weights = record["b_axis" if operand else "a_axis"]
    group = int(record["b_group" if operand else "a_group"])
    return GroupAxis(int(weights[0]), int(weights[1]), group, bool(record["whole_axis"][operand]))


def segment_lengths(
    a: GroupAxis, b: GroupAxis, g_first: int, g_count: int, k_first: int, k_count: int
) -> tuple[tuple[int, ...], ...]:
    """Lengths along k of the segments of one box from coordinates g and k on, as ``cut_segments`` cuts it.

    For each g, or once where all of them are cut alike.
    """
    if k_count == 1:
        return ((1,),)
    different = g_count if any(axis.g_weight and axis.k_weight for axis in (a, b)) else 1
    cuts = [
        _cuts(a, g, k_first, k_count) | _cuts(b, g, k_first, k_count)
        for g in range(g_first, g_first + different)
    ]
    if all(cut == cuts[0] for cut in cuts):
        cuts = cuts[:1]
    return tuple(tuple(end - first for first, end in pairwise((0, *sorted(cut), k_count))) for cut in cuts)


def _cuts(axis: GroupAxis, g: int, k_first: int, k_count: int) -> set[int]:
    """The positions along k that start another group than the position before."""
    if not axis.k_weight:
        return set()
    base = axis.g_weight * g + axis.k_weight * k_first
    last = base + axis.k_weight * (k_count - 1)
    groups = range(base // axis.group + 1, last // axis.group + 1)
    return {-((base - group * axis.group) // axis.k_weight) for group in groups}
