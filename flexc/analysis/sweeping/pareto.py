"""Which points of a sweep no other beats, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from flexc.figure_file import legend_below, literal, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OBJECTIVES = ("cycles", "energy_uj", "datapath_um2")
"""What less is better of; accuracy is none of it."""

Row = Mapping[str, object]


def workload_of(row: Row) -> tuple[object, ...]:
    """What points must share to be compared: the same work."""
    return row["model"], row["batch"], row["train"]


def pareto_front(rows: Sequence[Row]) -> list[bool]:
    """For each row whether no other of the same work is as good in all objectives and better in one.

    Rows of failed points are never on the front.
    """
    costs = [_costs(row) for row in rows]
    works = [workload_of(row) for row in rows]
    front = []
    for mine, work in zip(costs, works, strict=True):
        front.append(
            mine is not None
            and not any(
                other is not None and theirs == work and other != mine and _no_worse(other, mine)
                for other, theirs in zip(costs, works, strict=True)
            )
        )
    return front


def plot_pareto(path: Path, rows: Sequence[Row]) -> None:
    """Cycles against energy, a panel for each work; a marker's size is the area, the front is framed.

    Raises CompileError: those of :func:`~flexc.figure_file.write_figure`.
    """
    points = [_Point.of(row, best) for row, best in zip(rows, pareto_front(rows), strict=True)]
    works: dict[tuple[object, ...], list[_Point]] = {}
    for point in points:
        if point is not None:
            works.setdefault(point.work, []).append(point)
    height = 1 + 3.6 * max(1, len(works))
    write_figure(path, (6.4, height), lambda figure: _draw(figure, works))


@dataclass(frozen=True)
class _Point:
    """A point to draw: its work, names and costs, and whether it is on the front."""

    work: tuple[object, ...]
    target: str
    policy: str
    costs: tuple[float, float, float]
    best: bool

    @classmethod
    def of(cls, row: Row, best: bool) -> _Point | None:
        """None for a row that failed."""
        costs = _costs(row)
        if costs is None:
            return None
        target, policy = (Path(str(row[name])).stem for name in ("target", "policy"))
        return cls(workload_of(row), target, policy, costs, best)


def _draw(figure: Figure, works: Mapping[tuple[object, ...], Sequence[_Point]]) -> None:
    panels = figure.subplots(max(1, len(works)), squeeze=False)[:, 0]
    targets = dict.fromkeys(point.target for points in works.values() for point in points)
    colours = {target: f"C{number}" for number, target in enumerate(targets)}
    for panel, ((model, batch, train), points) in zip(panels, works.items(), strict=False):
        _draw_points(panel, points, colours)
        step = "training step" if train else "inference"
        panel.set_title(f"{literal(Path(str(model)).stem)}, {step}, batch {batch}")
    legend_below(figure, panels)
    figure.suptitle("size: area of the datapath; framed: not beaten in cycles, energy and area", fontsize=9)


def _draw_points(panel: Axes, points: Sequence[_Point], colours: Mapping[str, str]) -> None:
    largest = max(point.costs[2] for point in points)
    middle = sqrt(prod(pick(point.costs[0] for point in points) for pick in (min, max)))
    policies: dict[tuple[float, float], list[str]] = {}
    drawn = set()
    for point in points:
        cycles, energy, area = point.costs
        panel.scatter(
            [cycles],
            [energy],
            s=20 + 180 * (area / largest if largest else 0.0),
            alpha=0.6,
            color=colours[point.target],
            edgecolors="black" if point.best else "none",
            label=None if point.target in drawn else f"on {literal(point.target)}",
        )
        drawn.add(point.target)
        policies.setdefault((cycles, energy), []).append(literal(point.policy))
    for place, names in policies.items():
        left = place[0] < middle
        panel.annotate(
            ", ".join(dict.fromkeys(names)), place, fontsize=7, textcoords="offset points",
            xytext=(6 if left else -6, 5), horizontalalignment="left" if left else "right",
        )  # fmt: skip
    panel.set(xscale="log", yscale="log", xlabel="cycles (assumed targets)", ylabel="energy, uJ (assumed)")


def _costs(row: Row) -> tuple[float, float, float] | None:
    values = [row[name] for name in OBJECTIVES]
    if any(value is None for value in values):
        return None
    cycles, energy, area = (float(str(value)) for value in values)
    return cycles, energy, area


def _no_worse(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return all(mine <= theirs for mine, theirs in zip(left, right, strict=True))
