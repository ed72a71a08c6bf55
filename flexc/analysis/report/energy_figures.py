"""Energy in the report: of the program by component, and of its layers."""

from __future__ import annotations

import plotly.graph_objects as go

from flexc.analysis.inspection import energy_text
from flexc.analysis.report.figures import COLOURS, MARGIN, assumed, literal, part_of, title
from flexc.cost.energy_breakdown import COMPONENT_WORDS, EnergyBreakdown
from flexc.schedule import Schedule

SHOWN_LAYERS = 40
"""Layers with the most energy that have a bar of their own."""
LABEL_LENGTH = 50
"""Characters of a layer's name on an axis."""
BAR_PIXELS = 18
COLOUR_OF = dict(zip(COMPONENT_WORDS, COLOURS, strict=False))


def components_figure(schedule: Schedule) -> go.Figure:
    """A bar for each component of the program's energy."""
    energy = schedule.energy_by_component_pj.by_component()
    texts = [energy_text(part) for part in energy.values()]
    figure = go.Figure()
    figure.add_bar(
        orientation="h",
        x=[part / 1e6 for part in energy.values()],
        y=list(COMPONENT_WORDS.values()),
        marker_color=[COLOUR_OF[name] for name in energy],
        text=texts,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    words = f"Energy, {energy_text(schedule.energy_pj)} ({assumed(schedule.target)})"
    figure.update_layout(title=title(words), margin={**MARGIN, "r": 80})
    figure.update_xaxes(title="uJ")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def layers_figure(schedule: Schedule) -> go.Figure:
    """The layers that take most energy, in the order in which they run.

    The custom datum of a bar is the first group of its layer.
    """
    by_layer: dict[str, EnergyBreakdown] = {}
    first_group: dict[str, int] = {}
    for group in schedule.groups:
        layer = f"{group.label} ({part_of(group)})"
        by_layer[layer] = by_layer.get(layer, EnergyBreakdown()) + group.energy_by_component_pj
        first_group.setdefault(layer, group.index)
    largest = sorted(by_layer, key=lambda layer: -by_layer[layer].total)[:SHOWN_LAYERS]
    chosen = sorted(largest, key=first_group.__getitem__)
    places = list(range(len(chosen)))
    figure = go.Figure()
    for name, words in COMPONENT_WORDS.items():
        figure.add_bar(
            orientation="h",
            x=[getattr(by_layer[layer], name) / 1e6 for layer in chosen],
            y=places,
            customdata=[first_group[layer] for layer in chosen],
            text=list(map(literal, chosen)),
            textposition="none",
            hovertemplate=f"%{{text}}<br>{words}: %{{x:.4g}} uJ<extra></extra>",
            name=words,
            marker_color=COLOUR_OF[name],
        )
    shown = (
        f"{len(chosen)} of {len(by_layer)} layers and parts"
        if len(chosen) < len(by_layer)
        else "layers and parts"
    )
    figure.update_layout(
        barmode="stack",
        title=title(f"Energy of {shown} ({assumed(schedule.target)})"),
        height=140 + BAR_PIXELS * len(chosen),
        margin=MARGIN,
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(title="uJ")
    labels = [literal(shortened(layer)) for layer in chosen]
    figure.update_yaxes(
        autorange="reversed", automargin=True, tickmode="array", tickvals=places, ticktext=labels,
        tickfont={"size": 11},
    )  # fmt: skip
    return figure


def shortened(label: str) -> str:
    """A label that fits an axis: its middle is left out where it is long."""
    if len(label) <= LABEL_LENGTH:
        return label
    half = LABEL_LENGTH // 2
    return f"{label[: half - 1]}\u2026{label[-half:]}"
