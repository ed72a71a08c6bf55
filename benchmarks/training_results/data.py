"""The data of the tasks: those of flexc by name, and two that are made from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexc.datasets.arrays import DataSet, Examples, split
from flexc.datasets.choice import load_data_set

NOISY_MNIST = "noisy-mnist"
VALIDATION_LINES = "text-direction-validation"
NOISE = 1.2
"""Standard deviation of the noise on pixels from -1 to 1."""


def data_path(name: str, folder: Path) -> str:
    """What ``--data`` takes for the data called ``name``; ``folder`` gets a file of those that are made."""
    if name not in (NOISY_MNIST, VALIDATION_LINES):
        return name
    path = folder / f"{name}.npz"
    if not path.exists():
        made = noisy_mnist() if name == NOISY_MNIST else validation_lines()
        np.savez(
            path,
            images=made.train.images,
            labels=made.train.labels,
            test_images=made.test.images,
            test_labels=made.test.labels,
        )
    return str(path)


def image_size(name: str) -> int:
    """Height and width of the images of digits."""
    return {"digits": 8, "mnist": 28, NOISY_MNIST: 14}[name]


def noisy_mnist() -> DataSet:
    """MNIST at 14x14 (means of 2x2 pixels) under normal noise: no network gets it all right."""
    clean = load_data_set("mnist")
    rng = np.random.default_rng(0)
    return DataSet(NOISY_MNIST, *(_noisy(part, rng) for part in (clean.train, clean.test)))


def _noisy(clean: Examples, rng: np.random.Generator) -> Examples:
    count, channels, height, width = clean.images.shape
    halved = clean.images.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    noise = NOISE * rng.standard_normal(halved.shape, dtype=np.float32)
    return Examples((halved + noise).astype(np.float32), clean.labels)


def validation_lines() -> DataSet:
    """The 600 lines that text-direction learns from: 480 of them, and 120 to choose settings by."""
    return split(VALIDATION_LINES, load_data_set("text-direction").train)
