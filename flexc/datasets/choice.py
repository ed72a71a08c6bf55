"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

from flexc.datasets.arrays import DataSet, Examples
from flexc.datasets.digits import load_digits
from flexc.datasets.mnist import load_mnist
from flexc.datasets.npz_file import read_data_set
from flexc.datasets.text_direction import render_lines
from flexc.diagnostics import error

NAMES = ("mnist", "digits", "text-direction")
TRAINING_LINES = 600
TEST_LINES = 200


def load_data_set(name_or_path: str, label: str | None = None) -> DataSet:
    """The data set of that name, or that of an npz file (a name that ends in .npz).

    ``label``: the name of the labels in an npz file; None for their usual names.
    Raises CompileError: FX505 and FX561 for what a file has wrong, FX551 and FX560 for a package that is
    missing, FX562 for a name that is none, FX563 for labels of a set that is no file.
    """
    if name_or_path.endswith(".npz"):
        return read_data_set(Path(name_or_path), label)
    if label is not None:
        raise error("FX563", f"'{name_or_path}' has its own labels", hint="--label is for FILE.npz")
    match name_or_path:
        case "mnist":
            return load_mnist()
        case "digits":
            return load_digits()
        case "text-direction":
            train, test = _lines(TRAINING_LINES, seed=1), _lines(TEST_LINES, seed=2)
            return DataSet(name_or_path, train, test)
    raise error(
        "FX562",
        f"there is no data set '{name_or_path}'",
        hint=f"it is one of {', '.join(NAMES)}, or an .npz file",
    )


def _lines(count: int, *, seed: int) -> Examples:
    found = render_lines(count, seed=seed)
    return Examples.of_images(found.images, found.labels)
