"""Labelled examples for training, and data sets that a user keeps in an npz file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexc.array_files import read_npz
from flexc.diagnostics import CompileError, Place, error

TEST_STRIDE = 5
"""Of a set that has no test examples of its own, the last of every five examples of a class is one."""


@dataclass(frozen=True)
class Examples:
    """``images`` [N, ...] fp32, ``labels`` [N] int64."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> Examples:
        """The examples at ``indices``, in that order."""
        return Examples(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """Examples to learn from and examples to test on, of the same shape."""

    name: str
    train: Examples
    test: Examples

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return self.train.images.shape[1:]

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return 1 + max(int(part.labels.max()) for part in (self.train, self.test))

    def sha256(self) -> str:
        """The hash of all images and labels, in hexadecimal."""
        found = hashlib.sha256()
        for part in (self.train, self.test):
            for array in (part.images, part.labels):
                found.update(f"{array.dtype} {array.shape}".encode())
                found.update(array.tobytes())
        return found.hexdigest()


def split(name: str, examples: Examples) -> DataSet:
    """The last of every five examples of each class for testing; the same whenever it is asked."""
    testing = np.zeros(len(examples), np.bool_)
    for label in np.unique(examples.labels):
        testing[np.flatnonzero(examples.labels == label)[TEST_STRIDE - 1 :: TEST_STRIDE]] = True
    return DataSet(name, examples.take(np.flatnonzero(~testing)), examples.take(np.flatnonzero(testing)))


def read_arrays(path: Path) -> DataSet:
    """The data set of an npz file with ``images`` [N, ...] (fp32) and ``labels`` [N] (integers from 0 on).

    ``test_images`` and ``test_labels`` are its test examples; without them it is :func:`split`.
    Raises CompileError: FX505 for a file that cannot be read, FX561 for arrays that are no such data set.
    """
    arrays = read_npz(path)
    unknown = set(arrays) - {"images", "labels", "test_images", "test_labels"}
    if unknown:
        raise _unfit(path, f"it holds '{min(unknown)}', which means nothing here")
    train = _examples(path, arrays, "")
    if not {"test_images", "test_labels"} & set(arrays):
        found = split(path.name, train)
        if not len(found.test):
            raise _unfit(path, f"no class has the {TEST_STRIDE} examples that leave one for testing")
        return found
    test = _examples(path, arrays, "test_")
    if test.images.shape[1:] != train.images.shape[1:]:
        shapes = f"{list(train.images.shape[1:])} and {list(test.images.shape[1:])}"
        raise _unfit(path, f"images and test_images have the shapes {shapes}")
    return DataSet(path.name, train, test)


def _examples(path: Path, arrays: dict[str, npt.NDArray[np.generic]], prefix: str) -> Examples:
    names = (f"{prefix}images", f"{prefix}labels")
    for name in names:
        if name not in arrays:
            raise _unfit(path, f"there is no array '{name}'")
    images, labels = (arrays[name] for name in names)
    if images.dtype != np.float32 or images.ndim < 2:
        raise _unfit(path, f"'{names[0]}' is {images.dtype} {list(images.shape)}, not float32 [N, ...]")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise _unfit(path, f"'{names[1]}' is {labels.dtype} {list(labels.shape)}, not integers [N]")
    if len(images) != len(labels) or not len(labels):
        raise _unfit(path, f"{len(images)} {names[0]} have {len(labels)} {names[1]}")
    if labels.min() < 0:
        raise _unfit(path, f"'{names[1]}' has negative labels")
    if not np.isfinite(images).all():
        raise _unfit(path, f"'{names[0]}' holds a NaN or an infinity")
    return Examples(np.ascontiguousarray(images), labels.astype(np.int64))


def _unfit(path: Path, message: str) -> CompileError:
    return error(
        "FX561",
        f"the file is no data set: {message}",
        place=Place(str(path)),
        hint="numpy.savez(path, images=float32 [N, ...], labels=integers [N]), "
        "and test_images, test_labels if you like",
    )


def missing_package(what: str, package: str) -> CompileError:
    """FX560: ``what`` comes with a package that is not installed."""
    return error("FX560", f"{what} come with {package}, which is missing", hint="pip install 'flexc[data]'")
