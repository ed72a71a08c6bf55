"""Tiles of contractions left in fp32: they run on the vector unit, so only the buffers matter.

Rows of the result (or columns, where there are fewer rows than cores) are split over the cores; tiles then
double in each dimension in turn while they fit.
"""

from __future__ import annotations

from collections.abc import Callable

from flexc.ir.mapping import DIMS, Dim, Factor, Mapping
from flexc.target.machine import Target

GROWTH: tuple[Dim, ...] = ("q", "o", "k", "s", "r", "p", "n", "g")
ORDER: tuple[Dim, ...] = ("g", "n", "p", "q", "o", "k", "r", "s")


def fp32_mapping(
    extents: dict[Dim, int], target: Target, fits: Callable[[Mapping], bool], *, cuts_window: bool = False
) -> Mapping:
    """The mapping whose tiles grow no further; the smallest one where not even that fits.

    ``cuts_window``: the window may be cut, as that of a weight gradient has to be, which is a whole image.
    """
    split: Dim = "p" if extents["p"] >= target.cores else "o"
    cores = (Factor(split, target.cores),) if extents[split] >= target.cores > 1 else ()
    bound = {**extents, split: -(-extents[split] // target.cores) if cores else extents[split]}
    tile: dict[Dim, int] = {dim: extents[dim] if dim in ("r", "s") and not cuts_window else 1 for dim in DIMS}

    def mapping() -> Mapping:
        return Mapping(
            "a", Factor("k", 1), Factor("o", 1), (), cores, tuple(tile[dim] for dim in DIMS), ORDER
        )

    growing = True
    while growing:
        growing = False
        for dim in GROWTH:
            before = tile[dim]
            tile[dim] = min(2 * before, bound[dim])
            if tile[dim] == before:
                continue
            if fits(mapping()):
                growing = True
            else:
                tile[dim] = before
    return mapping()
