"""Data sets that a user keeps in an npz file: one array for each input of the model, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.array_files import read_npz
from flexc.datasets.arrays import TEST_STRIDE, DataSet, Examples, split
from flexc.diagnostics import CompileError, Place, error

Array: TypeAlias = npt.NDArray[Any]
TEST_PREFIX = "test_"
LABELS = ("labels", "label")
"""Names that labels have where nobody says another."""


def read_data_set(path: Path, label: str | None = None) -> DataSet:
    """The data set of an npz file: arrays [N, ...], fp32 or integers.

    ``label`` names the labels among them; without it they are ``labels`` or ``label``, if the file has one.
    Test examples are under the same names behind ``test_``; without them the set is
    :func:`~flexc.datasets.arrays.split`.
    Raises CompileError: FX505 for a file that cannot be read, FX561 for arrays that are no such data set.
    """
    arrays = read_npz(path)
    training = {name: array for name, array in arrays.items() if not _is_for_testing(name, arrays)}
    testing = {f"{name[len(TEST_PREFIX) :]}": arrays[name] for name in arrays if name not in training}
    found = label or next((name for name in LABELS if name in training), LABELS[0])
    if label is not None and label not in training:
        raise _unfit(path, f"there is no array '{label}'; there are {', '.join(training) or 'none'}")
    train = _examples(path, training, found, "")
    if not testing:
        made = split(path.name, train, found)
        if not len(made.test):
            raise _unfit(path, f"no class has the {TEST_STRIDE} examples that leave one for testing")
        return made
    for name in training:
        if name not in testing:
            raise _unfit(path, f"there is no array '{TEST_PREFIX}{name}'")
        shapes = [arrays[each].shape[1:] for each in (name, TEST_PREFIX + name)]
        if shapes[0] != shapes[1]:
            described = " and ".join(str(list(shape)) for shape in shapes)
            raise _unfit(path, f"{name} and {TEST_PREFIX}{name} have the shapes {described}")
    return DataSet(path.name, train, _examples(path, testing, found, TEST_PREFIX), found)


def _is_for_testing(name: str, arrays: Mapping[str, Array]) -> bool:
    return name.startswith(TEST_PREFIX) and name[len(TEST_PREFIX) :] in arrays


def _examples(path: Path, arrays: Mapping[str, Array], label: str, prefix: str) -> Examples:
    checked = {name: _checked(path, array, prefix + name) for name, array in arrays.items()}
    labels = checked.pop(label, None)
    if not checked:
        raise _unfit(path, "there is no array beside the labels")
    counts = {prefix + name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        described = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise _unfit(path, f"there are {described}")
    if 0 in counts.values():
        raise _unfit(path, f"'{min(counts)}' holds no example")
    return Examples(checked, labels)


def _checked(path: Path, array: Array, name: str) -> Array:
    """The array as fp32 or int64."""
    if not array.ndim or (array.dtype != np.float32 and array.dtype.kind not in "iu"):
        raise _unfit(path, f"'{name}' is {array.dtype} {list(array.shape)}, not float32 or integers [N, ...]")
    if array.dtype.kind in "iu":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise _unfit(path, f"'{name}' holds {array.max()}, which is no int64")
        return np.ascontiguousarray(array, np.int64)
    if not np.isfinite(array).all():
        raise _unfit(path, f"'{name}' holds a NaN or an infinity")
    return np.ascontiguousarray(array)


def _unfit(path: Path, message: str) -> CompileError:
    return error(
        "FX561",
        f"the file is no data set: {message}",
        place=Place(str(path)),
        hint="numpy.savez(path, images=float32 [N, ...], labels=integers [N]), or an array for each input of "
        "the model; test_images, test_labels and so on if you like",
    )
