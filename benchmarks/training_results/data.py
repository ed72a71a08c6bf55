"""The data of the tasks: those of flexc by name, and lines of text to choose settings by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexc.datasets.arrays import split
from flexc.datasets.choice import load_data_set

VALIDATION_LINES = "text-direction-validation"
IMAGE_SIZES = {"digits": 8, "mnist": 28}
"""Height and width of the images."""


def data_path(name: str, folder: Path) -> str:
    """What ``--data`` takes for the data called ``name``; ``folder`` gets a file of those that are made.

    ``text-direction-validation`` is the 600 lines that text-direction learns from: 480 of them to learn from,
    120 to test on.
    """
    if name != VALIDATION_LINES:
        return name
    made = split(name, load_data_set("text-direction").train)
    path = folder / f"{name}.npz"
    np.savez(
        path,
        images=made.train.images,
        labels=made.train.class_labels,
        test_images=made.test.images,
        test_labels=made.test.class_labels,
    )
    return str(path)
