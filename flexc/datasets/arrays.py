"""Examples for training, and their split into those to learn from and those to test on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.diagnostics import CompileError, error

Array: TypeAlias = npt.NDArray[Any]
IMAGES = "images"
TEST_STRIDE = 5
"""Of a set that has no test examples of its own, the last of every five examples of a class is one."""


@dataclass(frozen=True)
class Examples:
    """``inputs``: arrays [N, ...] by name, fp32 or integers.

    ``labels``: classes (int64 [N, ...]) or targets (fp32 [N, ...]); None where the inputs are all there is.
    """

    inputs: Mapping[str, Array]
    labels: Array | None

    @classmethod
    def of_images(cls, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Examples:
        """Images [N, ...], each with a class."""
        return cls({IMAGES: images}, labels)

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """The images of examples that have nothing else."""
        (images,) = self.inputs.values()
        return images

    @property
    def class_labels(self) -> npt.NDArray[np.int64]:
        """The labels of examples that have classes."""
        assert self.labels is not None
        return self.labels

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, indices: npt.NDArray[np.int64]) -> Examples:
        """The examples at ``indices``, in that order."""
        taken = {name: array[indices] for name, array in self.inputs.items()}
        return Examples(taken, None if self.labels is None else self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """Examples to learn from and examples to test on, of the same arrays and shapes.

    ``label``: the name of the labels where the set has them.
    """

    name: str
    train: Examples
    test: Examples
    label: str = "labels"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one example of each input."""
        return {name: array.shape[1:] for name, array in self.train.inputs.items()}

    def sha256(self) -> str:
        """The hash of all arrays with their names, in hexadecimal."""
        found = hashlib.sha256()
        for part in (self.train, self.test):
            arrays = dict(part.inputs)
            if part.labels is not None:
                arrays[f"label {self.label}"] = part.labels
            for name, array in arrays.items():
                found.update(f"{name} {array.dtype} {array.shape}".encode())
                found.update(array.tobytes())
        return found.hexdigest()


def split(name: str, examples: Examples, label: str = "labels") -> DataSet:
    """The last of every five examples for testing; the same whenever it is asked.

    Where an example has one class these are five of each class, and there may be none for testing.
    """
    labels = examples.labels
    if labels is None or labels.ndim != 1 or labels.dtype.kind == "f":
        labels = np.zeros(len(examples), np.int64)
    testing = np.zeros(len(examples), np.bool_)
    for each in np.unique(labels):
        testing[np.flatnonzero(labels == each)[TEST_STRIDE - 1 :: TEST_STRIDE]] = True
    train, test = (examples.take(np.flatnonzero(which)) for which in (~testing, testing))
    return DataSet(name, train, test, label)


def missing_package(what: str, package: str) -> CompileError:
    """FX560: ``what`` comes with a package that is not installed."""
    return error("FX560", f"{what} come with {package}, which is missing", hint="pip install 'flexc[data]'")
