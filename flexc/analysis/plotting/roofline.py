"""The roofline of an artefact as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexc.analysis.roofline import Roofline, RooflinePoint, roofline_of
from flexc.diagnostics import Place, error
from flexc.figure_file import check_figure, literal, write_figure
from flexc.program import load
from flexc.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (6.4, 4.6)
MARKERS = {"forward": "o", "local_grad": "^", "weight_grad": "s"}
AROUND = 3.0
"""Factor that the axis of intensities goes beyond points and corners."""


def plot_roofline(folder: Path, output: Path, labels: int = 0) -> None:
    """Draws the roofline of the artefact in ``folder``; the ``labels`` groups that take longest get names.

    Raises CompileError: FX557 for an artefact without quantized contractions, those of
    :func:`~flexc.figure_file.write_figure`, and those of loading.
    """
    check_figure(output)
    program = load(folder)
    found = roofline_of(program.schedule, program.target)
    if not found.points:
        raise error(
            "FX557", "a roofline has nothing to show: no contraction is quantized", place=Place(str(folder))
        )
    named = _longest(program.schedule, found, labels)
    write_figure(output, SIZE_INCHES, lambda figure: draw_roofline(figure, found, named))


def draw_roofline(figure: Figure, found: Roofline, named: frozenset[int]) -> None:
    """Roofs, and a marker for each group with contractions; the groups ``named`` have their layers' names."""
    axes = figure.subplots()
    corners = [roof.gigamacs_per_second / found.dram_gigabytes_per_second for roof in found.roofs]
    intensities = [*corners, *(point.macs_per_byte for point in found.points)]
    low, high = min(intensities) / AROUND, max(intensities) * AROUND
    colours = {roof.mode: f"C{number}" for number, roof in enumerate(found.roofs)}
    for roof, corner in zip(found.roofs, corners, strict=True):
        places = [low, corner, high]
        rates = [found.bound(roof, place) for place in places]
        axes.plot(places, rates, color=colours[roof.mode], linewidth=1.2, label=f"roof of {roof.mode}")
    kinds = dict.fromkeys((point.mode, point.part) for point in found.points)
    for mode, part in kinds:
        points = [point for point in found.points if (point.mode, point.part) == (mode, part)]
        axes.scatter(
            [point.macs_per_byte for point in points],
            [point.gigamacs_per_second for point in points],
            s=22,
            marker=MARKERS[part],
            color=colours[mode],
            edgecolors="white",
            linewidths=0.4,
            zorder=3,
            label=f"{mode}, {part.replace('_', ' ').replace('grad', 'gradient')}",
        )
    _name(axes, found, named)
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_xlabel("MACs per DRAM byte, in the direction that moves more")
    axes.set_ylabel("GMAC/s")
    axes.set_title(f"Roofline (assumed: {literal(found.target)})")
    axes.grid(which="major", linewidth=0.3)
    axes.legend(loc="lower right")


def _name(axes: Axes, found: Roofline, named: frozenset[int]) -> None:
    places: dict[tuple[str, str], list[RooflinePoint]] = {}
    for point in found.points:
        if point.group in named:
            place = f"{point.macs_per_byte:.2g}", f"{point.gigamacs_per_second:.2g}"
            places.setdefault(place, []).append(point)
    for points in places.values():
        # Names of layers that lie on one another stand below one another.
        text = axes.annotate(
            "\n".join(literal(point.layer) for point in points),
            (points[0].macs_per_byte, points[0].gigamacs_per_second),
            fontsize=6, xytext=(4, -4), textcoords="offset points", verticalalignment="top",
        )  # fmt: skip
        # A long name may end at the figure's edge; it is not to squeeze the axes.
        text.set_in_layout(False)


def _longest(schedule: Schedule, found: Roofline, number: int) -> frozenset[int]:
    cycles = {group.index: group.cycles for group in schedule.groups}
    groups = sorted((point.group for point in found.points), key=lambda group: -cycles[group])
    return frozenset(groups[:number])
