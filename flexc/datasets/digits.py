"""The 1797 digits of 8x8 pixels that come with scikit-learn (UCI: Alpaydin and Kaynak, 1998)."""

from __future__ import annotations

import importlib.util

import numpy as np

from flexc.datasets.arrays import DataSet, Examples, missing_package, split

LARGEST_PIXEL = 16


def load_digits() -> DataSet:
    """Images [N, 1, 8, 8] from -1 to 1; 1442 to learn from, 355 to test.

    Raises CompileError FX560 without scikit-learn.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise missing_package("the digits", "scikit-learn")
    from sklearn import datasets

    found = datasets.load_digits()
    pixels = np.asarray(found.images, np.float32)[:, np.newaxis]
    images = pixels / np.float32(LARGEST_PIXEL / 2) - np.float32(1)
    return split("digits", Examples.of_images(images, np.asarray(found.target, np.int64)))
