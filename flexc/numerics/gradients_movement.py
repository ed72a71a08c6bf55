"""Gradient of gather: a scatter that adds in a fixed order (numerics specification, section 3.8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array, require_float32


def gather_grad(
    g: Float32Array, indices: NDArray[np.integer], *, x_shape: Sequence[int], axis: int
) -> Float32Array:
    """dx of shape `x_shape`: the slices of g added up at their indices along `axis`, in row-major order.

    From +0, one by one; a negative index counts from the end. Raises TypeError when g is not fp32, IndexError
    for an index out of range, ValueError when g does not have the shape of the gathered tensor.
    """
    require_float32("gather_grad", g)
    along = axis % len(x_shape)
    expected = (*x_shape[:along], *indices.shape, *x_shape[along + 1 :])
    if g.shape != expected:
        raise ValueError(f"gather_grad: gradient of shape {list(g.shape)}, not {list(expected)}")
    before = tuple(range(along))
    picked = tuple(range(along, along + indices.ndim))
    after = tuple(range(along + indices.ndim, g.ndim))
    slices = g.transpose(picked + before + after)
    rest = slices.shape[indices.ndim :]
    dx = np.zeros((x_shape[along], *rest), np.float32)
    with np.errstate(all="ignore"):
        # Unbuffered: the slices of one index join one after the other.
        np.add.at(dx, indices.reshape(-1), slices.reshape(-1, *rest))
    return np.moveaxis(dx, 0, along)
