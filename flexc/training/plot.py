"""The course of a run as a picture: loss, accuracy, zero-setting errors and formats by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexc.figure_file import check_figure, count_epochs, write_figure
from flexc.training.metrics import EpochMetrics, read_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_INCHES = (10, 7)
CURVES = (
    ("loss", (("train_loss", "training"), ("test_loss", "test"))),
    ("accuracy", (("train_accuracy", "training"), ("test_accuracy", "test"))),
    (
        "zero-setting error",
        (("error_activation", "activations"), ("error_weight", "weights"), ("error_gradient", "gradients")),
    ),
)
"""Title, and columns of ``metrics.csv`` with their labels."""
WIDTHS = (("bits_16", "FB24"), ("bits_8", "FB16"), ("bits_4", "FB12"))


def plot_run(folder: Path, output: Path) -> None:
    """Draws the run in ``folder`` into the file ``output``.

    Raises CompileError: FX570 for a run without an epoch, and those of
    :func:`~flexc.figure_file.write_figure`.
    """
    check_figure(output)
    rows = read_epochs(folder)
    write_figure(output, FIGURE_INCHES, lambda figure: _draw(figure, rows))


def _draw(figure: Figure, rows: Sequence[EpochMetrics]) -> None:
    axes = figure.subplots(2, 2).ravel()
    epochs = [row.epoch for row in rows]
    for ax, (title, curves) in zip(axes, CURVES, strict=False):
        for column, label in curves:
            values = [getattr(row, column) for row in rows]
            if any(value is not None for value in values):
                drawn = [float("nan") if value is None else value for value in values]
                # With a point at every epoch, so that a run of one has something to see.
                ax.plot(epochs, drawn, marker=".", label=label)
        _finish(ax, title, len(rows))
    below = [0] * len(rows)
    for column, label in WIDTHS:
        counts = [getattr(row, column) for row in rows]
        axes[3].bar(epochs, counts, 1.0, bottom=below, label=label)
        below = [low + count for low, count in zip(below, counts, strict=True)]
    _finish(axes[3], "contractions by format", len(rows))


def _finish(ax: Axes, title: str, epochs: int) -> None:
    ax.set_title(title)
    count_epochs(ax, epochs)
    ax.set_ylim(bottom=0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
