"""Columns over many records: what the modules that work on all records of a program at once share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
MOST_LABELS = 1 << 62


def label_rows(columns: Sequence[Integers]) -> Integers:
    """Numbers [rows] that are equal exactly where all ``columns`` [rows] are."""
    labels = np.zeros(len(columns[0]), np.int64)
    if not len(labels):
        return labels
    extent = 1
    for column in columns:
        first = int(column.min())
        values = int(column.max()) - first + 1
        if extent * values > MOST_LABELS:
            labels = np.unique(labels, return_inverse=True)[1]
            extent = int(labels.max()) + 1
        labels = labels * values + (column - first)
        extent *= values
    return labels
