"""Which points of a sweep no other beats, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexc.figure_file import literal, write_figure

if TYPE_CHECKING:
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
    """Cycles against energy, a panel for each work, an area a marker's size, the front joined.

    Raises CompileError: those of :func:`~flexc.figure_file.write_figure`.
    """
    works = list(dict.fromkeys(workload_of(row) for row in rows if _costs(row) is not None))
    panels = max(1, len(works))
    write_figure(path, (6, 4 * panels), lambda figure: _draw(figure, rows, works))


def _draw(figure: Figure, rows: Sequence[Row], works: Sequence[tuple[object, ...]]) -> None:
    panels = figure.subplots(max(1, len(works)), squeeze=False)[:, 0]
    on_front = pareto_front(rows)
    for panel, work in zip(panels, works, strict=False):
        mine = [
            (row, costs, best)
            for row, best in zip(rows, on_front, strict=True)
            if workload_of(row) == work and (costs := _costs(row)) is not None
        ]
        largest = max(costs[2] for _, costs, _ in mine)
        for row, (cycles, energy, area), best in mine:
            size = 20 + 180 * (area / largest if largest else 0.0)
            panel.scatter([cycles], [energy], s=size, alpha=0.6, edgecolors="black" if best else "none")
            label = literal(f"{Path(str(row['target'])).stem}, {Path(str(row['policy'])).stem}")
            panel.annotate(label, (cycles, energy), fontsize=7, xytext=(4, 4), textcoords="offset points")
        front = sorted(costs[:2] for _, costs, best in mine if best)
        panel.plot(*zip(*front, strict=True), color="black", linewidth=0.8)
        model, batch, train = work
        step = "training step" if train else "inference"
        panel.set(
            xscale="log", yscale="log", xlabel="cycles (assumed machine)", ylabel="energy, uJ (assumed)"
        )
        name = literal(Path(str(model)).stem)
        panel.set_title(f"{name}, {step}, batch {batch}; marker size: datapath area", fontsize=9)


def _costs(row: Row) -> tuple[float, float, float] | None:
    values = [row[name] for name in OBJECTIVES]
    if any(value is None for value in values):
        return None
    cycles, energy, area = (float(str(value)) for value in values)
    return cycles, energy, area


def _no_worse(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return all(mine <= theirs for mine, theirs in zip(left, right, strict=True))
