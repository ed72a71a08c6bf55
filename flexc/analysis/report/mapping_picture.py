"""A contraction on the machine as a picture: cores of the chip, PEs of a core, lanes and units of a PE."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, prod, sqrt

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from flexc.ir.mapping import Mapping
from flexc.mapping.loops import lanes_at_work, units_at_work
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import PeShape, Target

USED, IDLE = "#4c78a8", "#e8e8e8"
COLOUR_SCALE = [[0, IDLE], [1, USED]]
PE_COLUMNS = 3
PE_WORK = {"reduce": "one integer sum", "chain": "chain of fp32 partials", "outputs": "outputs of their own"}


def mapping_figure(
    problem: ContractionProblem, mapping: Mapping, shape: PeShape, target: Target
) -> go.Figure:
    """Which cores, PEs, units and lanes work, and on which share of which loop dimension.

    Lanes beyond the longest segment, and units beyond what a core makes, have a factor but nothing to do.
    """
    busy_lanes, busy_units = lanes_at_work(problem, mapping), units_at_work(mapping)
    cores = [(factor.dim, factor.factor) for factor in mapping.cores]
    pes = [(factor.dim, factor.factor) for factor in mapping.pes]
    used_cores = prod(factor for _, factor in cores)
    used_pes = prod(factor for _, factor in pes)
    work = ", ".join(f"{factor.dim}: {PE_WORK[factor.role]}" for factor in mapping.pes) or "one at work"
    figure = make_subplots(
        1, 3, column_widths=[0.36, 0.28, 0.36], horizontal_spacing=0.03,
        subplot_titles=(
            f"{used_cores} of {target.cores} cores",
            f"{used_pes} of {target.pes_per_core} PEs of a core<br><sub>{work}</sub>",
            f"{busy_lanes} of {shape.lanes} lanes over {mapping.lane.dim}, "
            f"{busy_units} of {shape.units} units over {mapping.unit.dim}",
        ),
    )  # fmt: skip
    _grid(figure, 1, _labels(cores), target.cores, ceil(sqrt(target.cores)))
    _grid(figure, 2, _labels(pes), target.pes_per_core, PE_COLUMNS)
    lanes = [
        [f"{mapping.lane.dim}{lane}" if lane < busy_lanes else "" for lane in range(shape.lanes)]
        for _ in range(shape.units)
    ]
    used = [[int(bool(text) and unit < busy_units) for text in row] for unit, row in enumerate(lanes)]
    rows = [f"{mapping.unit.dim}{unit}" if unit < busy_units else "idle" for unit in range(shape.units)]
    _heatmap(figure, 3, used, lanes)
    figure.update_layout(height=300, margin={"l": 10, "r": 10, "t": 60, "b": 10}, showlegend=False)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(autorange="reversed", visible=False)
    figure.update_yaxes(visible=True, tickmode="array", tickvals=list(range(len(rows))), ticktext=rows, col=3)
    return figure


def _labels(factors: Sequence[tuple[str, int]]) -> list[str]:
    """What each of the units side by side works on, the last factor fastest."""
    shares = product(*(range(count) for _, count in factors))
    return [
        " ".join(f"{dim}{i}" for (dim, _), i in zip(factors, share, strict=True)) or "all" for share in shares
    ]


def _grid(figure: go.Figure, column: int, labels: Sequence[str], count: int, width: int) -> None:
    cells = [*labels, *[""] * (count - len(labels))]
    rows = [cells[start : start + width] for start in range(0, count, width)]
    rows[-1] += [""] * (width - len(rows[-1]))
    used = [[int(bool(text)) for text in row] for row in rows]
    _heatmap(figure, column, used, rows)


def _heatmap(figure: go.Figure, column: int, used: list[list[int]], texts: list[list[str]]) -> None:
    figure.add_heatmap(
        z=used, text=texts, texttemplate="%{text}", hoverinfo="skip", xgap=2, ygap=2, zmin=0, zmax=1,
        colorscale=COLOUR_SCALE, showscale=False, row=1, col=column,
    )  # fmt: skip
