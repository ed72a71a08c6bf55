"""The course of a training run in the report: zero-setting errors and accuracy by epoch."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from flexc.analysis.report.figures import course_figure
from flexc.training.metrics import read_epochs

ERRORS = {"activations": "error_activation", "weights": "error_weight", "gradients": "error_gradient"}
ACCURACIES = {"training": "train_accuracy", "test": "test_accuracy"}


def course_of(run: Path) -> dict[str, go.Figure]:
    """Figures by the names of their places: zero-setting errors and accuracies of a run.

    Raises CompileError FX570 for a folder that is no run or has no epoch yet.
    """
    epochs = read_epochs(run)
    numbers = [epoch.epoch for epoch in epochs]

    def curves(fields: dict[str, str]) -> dict[str, list[float | None]]:
        found = {name: [getattr(epoch, field) for epoch in epochs] for name, field in fields.items()}
        return {name: values for name, values in found.items() if any(value is not None for value in values)}

    return {
        "zero-setting": course_figure(
            "Zero-setting errors of quantized tensors", "of elements that are not 0", numbers, curves(ERRORS)
        ),
        "accuracy": course_figure("Accuracy", "of examples", numbers, curves(ACCURACIES)),
    }
