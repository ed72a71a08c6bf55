"""The figures of the report, made by plotly.

Plotly reads tags and entities in texts, so every name of the user's goes through :func:`literal`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import cycle, groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from flexc.analysis.activity_counters import bytes_per_cycle, peak_occupancy, stretch_edges
from flexc.analysis.roofline import Roofline
from flexc.analysis.trace import DRAM_COUNTERS
from flexc.backends.stream.activity import Activity
from flexc.backends.stream.isa import ENGINES, Engine, Space
from flexc.schedule import GroupSchedule, Schedule
from flexc.target.machine import Target

STRETCHES = 2000
"""Points of each counter over the program."""
COLOURS = ("#4c78a8", "#9ecae9", "#72b7b2", "#f58518", "#ffbf79", "#b279a2", "#79706e", "#54a24b", "#e45756")
MODE_COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#f58518", "#b279a2", "#79706e")
BUFFER_COLOURS = {Space.OPERAND: "#f58518", Space.HELD: "#b279a2", Space.PSUM: "#54a24b"}
DRAM_COLOURS: dict[Engine, str] = {"dma_in": "#4c78a8", "dma_out": "#e45756"}
MARGIN = {"l": 70, "r": 20, "t": 70, "b": 50}
FEW_EPOCHS = 20
"""Epochs that each have a tick of their own."""


def title(text: str, *, pixels_above: int = 10) -> dict[str, Any]:
    """A title right above the plot, under plotly's buttons, which stand at the top of the margin."""
    return {"text": text, "yref": "paper", "y": 1, "yanchor": "bottom", "pad": {"b": pixels_above}}


def literal(text: str) -> str:
    """A name as plotly shows it letter by letter."""
    return html.escape(text, quote=False)


def part_of(group: GroupSchedule) -> str:
    """The pass of a group's contraction, or the kind of a group without one."""
    return group.contractions[0].training_pass if group.contractions else group.kind


def assumed(target: str) -> str:
    """What is written behind every figure that rests on rates or energies of the target."""
    return f"assumed: {literal(target)}"


def roofline_figure(roofline: Roofline) -> go.Figure:
    """Roofs of each mode, and a point for each group with contractions; its custom datum is the group."""
    figure = go.Figure()
    intensities = [point.macs_per_byte for point in roofline.points] or [1.0]
    ridges = [roof.gigamacs_per_second / roofline.dram_gigabytes_per_second for roof in roofline.roofs]
    low, high = min(*intensities, *ridges) / 4, max(*intensities, *ridges) * 4
    colours = {roof.mode: colour for roof, colour in zip(roofline.roofs, cycle(MODE_COLOURS), strict=False)}
    for roof in roofline.roofs:
        corner = roof.gigamacs_per_second / roofline.dram_gigabytes_per_second
        xs = sorted({low, corner, high})
        label = f"roof of {roof.mode}"
        figure.add_scatter(
            x=xs,
            y=[roofline.bound(roof, x) for x in xs],
            mode="lines",
            name=label,
            line_color=colours[roof.mode],
        )
    for mode in dict.fromkeys(point.mode for point in roofline.points):
        points = [point for point in roofline.points if point.mode == mode]
        figure.add_scatter(
            x=[point.macs_per_byte for point in points],
            y=[point.gigamacs_per_second for point in points],
            mode="markers",
            name=f"layers in {mode}",
            marker_color=colours[mode],
            customdata=[point.group for point in points],
            text=[f"{literal(point.layer)} ({point.part})" for point in points],
            hovertemplate="%{text}<br>%{x:.3g} MACs a byte, %{y:.4g} GMAC/s<extra></extra>",
        )
    figure.update_layout(
        title=title(f"Roofline ({assumed(roofline.target)})"),
        margin=MARGIN,
        legend={"orientation": "h", "y": -0.2},
    )
    figure.update_xaxes(type="log", dtick="D2", title="MACs per DRAM byte, in the direction that moves more")
    figure.update_yaxes(type="log", dtick="D2", title="10^9 MACs a second")
    return figure


def timeline_figure(schedule: Schedule, activity: Activity, target: Target) -> go.Figure:
    """Engines at work by group, what the buffers hold and what the DRAM moves, over one axis of cycles."""
    figure = make_subplots(
        3, 1, shared_xaxes=True, row_heights=[0.46, 0.27, 0.27], vertical_spacing=0.05,
        subplot_titles=("first start to last end of each group", "peak in a core's buffers", "DRAM"),
    )  # fmt: skip
    ordered = sorted(schedule.groups, key=part_of)
    for number, (part, some) in enumerate(groupby(ordered, key=part_of)):
        groups = list(some)
        uses = [(group, name, group.engines[name]) for group in groups for name in group.engines]
        figure.add_bar(
            orientation="h",
            base=[use.start_cycle for _, _, use in uses],
            x=[use.end_cycle - use.start_cycle for _, _, use in uses],
            y=[name for _, name, _ in uses],
            customdata=[group.index for group, _, _ in uses],
            text=[f"{literal(group.label)} ({part}), at work {use.busy_cycles:,}" for group, _, use in uses],
            hovertemplate="%{text} cycles<br>%{base:,} and %{x:,} cycles from there<extra>%{y}</extra>",
            textposition="none",
            marker={"color": COLOURS[number % len(COLOURS)], "line": {"width": 0.5, "color": "white"}},
            name=part,
            row=1,
            col=1,
        )
    edges = stretch_edges(schedule.cycles, STRETCHES)
    for space, holdings in activity.holdings.items():
        size = _size_bytes(target, space)
        share = np.round(peak_occupancy(holdings, edges) / size, 4)
        figure.add_scatter(
            x=edges[:-1].tolist(), y=share.tolist(), row=2, col=1,
            line={"shape": "hv", "width": 1, "color": BUFFER_COLOURS[space]},
            name=f"{space.name.lower()} buffer, of {size:,} bytes",
        )  # fmt: skip
    for engine, name in DRAM_COUNTERS.items():
        rates = bytes_per_cycle(activity.executions[engine], edges) * target.clock_mhz / 1e3
        figure.add_scatter(
            x=edges[:-1].tolist(),
            y=np.round(rates, 3).tolist(),
            line={"shape": "hv", "width": 1, "color": DRAM_COLOURS[engine]},
            row=3,
            col=1,
            name=name,
        )
    figure.update_layout(
        title=title(f"Drag to zoom, double click to see all ({assumed(schedule.target)})", pixels_above=30),
        barmode="overlay", height=780, margin={**MARGIN, "t": 90},
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(reversed(ENGINES)), row=1, col=1)
    figure.update_yaxes(title="share", tickformat=".0%", range=[0, 1.02], row=2, col=1)
    figure.update_yaxes(title="GB/s", rangemode="tozero", row=3, col=1)
    figure.update_xaxes(range=[0, schedule.cycles])
    figure.update_xaxes(title="cycles", row=3, col=1)
    return figure


def _size_bytes(target: Target, space: Space) -> int:
    sizes = {
        Space.OPERAND: target.operand_buffer_bytes,
        Space.HELD: target.held_buffer_bytes,
        Space.PSUM: target.psum_buffer_bytes,
    }
    return sizes[space]


def course_figure(
    words: str, axis: str, epochs: Sequence[int], curves: Mapping[str, Sequence[float | None]]
) -> go.Figure:
    """Curves of shares over the epochs of a training run; ``axis`` says shares of what."""
    figure = go.Figure()
    for name, values in curves.items():
        figure.add_scatter(x=list(epochs), y=list(values), mode="lines+markers", name=name)
    figure.update_layout(title=title(words), margin=MARGIN)
    figure.update_xaxes(title="epoch", tickformat="d", dtick=1 if len(epochs) <= FEW_EPOCHS else None)
    figure.update_yaxes(title=axis, tickformat=".0%", rangemode="tozero")
    return figure
