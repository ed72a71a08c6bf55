"""Zero-setting errors over the epochs of training runs as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexc.diagnostics import Place, error
from flexc.figure_file import check_figure, count_epochs, legend_below, literal, write_figure
from flexc.training.metrics import EpochMetrics, read_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (4.2, 3.2)
COLOURS = {"activations": "C0", "weights": "C1", "gradients": "C2"}
Curve = tuple[str, list[float]]


def plot_zero_setting(runs: Sequence[Path], output: Path) -> None:
    """Draws the errors of activations, weights and gradients of each run, a panel a run, on one scale.

    Raises CompileError: FX570 for a folder that is no run, FX557 for a run that measured none, and those of
    :func:`~flexc.figure_file.write_figure`.
    """
    check_figure(output)
    courses = []
    for run in runs:
        epochs = read_epochs(run)
        curves = curves_of(epochs)
        if not curves:
            raise error(
                "FX557",
                "the run has no zero-setting errors",
                place=Place(str(run)),
                hint="only runs that quantize measure them",
            )
        courses.append((run.resolve().name, [epoch.epoch for epoch in epochs], curves))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(courses), sharey=True, squeeze=False)[0]
        for panel, (name, numbers, curves) in zip(panels, courses, strict=True):
            _draw_course(panel, name, numbers, curves)
        panels[0].set_ylabel("zero-setting error")
        panels[0].set_ylim(bottom=0)
        legend_below(figure, panels)

    width, height = PANEL_INCHES
    write_figure(output, (width * len(courses), height), draw)


def curves_of(epochs: Sequence[EpochMetrics]) -> list[Curve]:
    """Errors by epoch of each class of tensors that has any, nan where an epoch measured none."""
    columns = {
        "activations": [epoch.error_activation for epoch in epochs],
        "weights": [epoch.error_weight for epoch in epochs],
        "gradients": [epoch.error_gradient for epoch in epochs],
    }
    return [
        (name, [float("nan") if value is None else value for value in values])
        for name, values in columns.items()
        if any(value is not None for value in values)
    ]


def _draw_course(panel: Axes, name: str, numbers: Sequence[int], curves: Sequence[Curve]) -> None:
    for label, values in curves:
        # With a point at every epoch, so that a run of one has something to see.
        panel.plot(numbers, values, marker=".", linewidth=1.0, color=COLOURS[label], label=label)
    panel.set_title(literal(name))
    count_epochs(panel, max(numbers))
    panel.grid(linewidth=0.3)
