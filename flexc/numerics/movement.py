"""Kernels that move values without computing: no bit of an element changes, whatever its type.

gather and pad work in the order of memory, so that a channels-last tensor stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flexc.numerics.elementwise import memory_order

Scalar = TypeVar("Scalar", bound=np.generic)
PadMode = Literal["constant", "reflect", "edge", "wrap"]


def reshape(x: NDArray[Scalar], *, shape: Sequence[int]) -> NDArray[Scalar]:
    """x in row-major order under a new shape of the same size; one entry may be -1.

    Raises ValueError when the sizes differ.
    """
    return np.reshape(x, tuple(shape))


def transpose(x: NDArray[Scalar], *, permutation: Sequence[int]) -> NDArray[Scalar]:
    """Dimension i of the result is dimension permutation[i] of x. Raises ValueError for no permutation."""
    return np.transpose(x, tuple(permutation))


def concat(*xs: NDArray[Scalar], axis: int) -> NDArray[Scalar]:
    """The operands one after the other along an axis. Raises ValueError when other dimensions differ."""
    return np.concatenate(xs, axis=axis)


def strided_slice(
    x: NDArray[Scalar], *, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]
) -> NDArray[Scalar]:
    """sizes[d] elements of each dimension d: starts[d], starts[d] + steps[d], ...; steps may be negative.

    Raises IndexError when an element lies outside x, ValueError when the entries do not match its rank.
    """
    view = x
    for dim, (start, size, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        last = start + (size - 1) * step
        if size > 0 and not (0 <= start < x.shape[dim] and 0 <= last < x.shape[dim]):
            raise IndexError(f"slice of dimension {dim} runs from {start} to {last}, outside {x.shape}")
        past = last + step
        selected = slice(0, 0) if size <= 0 else slice(start, None if past < 0 else past, step)
        view = view[(slice(None),) * dim + (selected,)]
    if len(starts) != x.ndim:
        raise ValueError(f"{len(starts)} slice entries for a tensor of rank {x.ndim}")
    return view


def gather(x: NDArray[Scalar], indices: NDArray[np.integer], *, axis: int) -> NDArray[Scalar]:
    """x indexed along an axis; a negative index counts from the end.

    The shape of `indices` stands in the place of the axis. Raises IndexError for an index out of range.
    """
    if np.ndim(indices) != 1:
        return np.take(x, indices, axis=axis)
    order = memory_order(x)
    return np.take(x.transpose(order), indices, axis=order.index(axis % x.ndim)).transpose(np.argsort(order))


def pad(
    x: NDArray[Scalar], *, pads: Sequence[int], mode: PadMode = "constant", value: float = 0.0
) -> NDArray[Scalar]:
    """x with pads[d] elements before and pads[rank + d] after each dimension d; negative pads cut.

    Raises ValueError when pads is not twice the rank, or there is nothing to reflect or repeat.
    """
    if len(pads) != 2 * x.ndim:
        raise ValueError(f"{len(pads)} pads for a tensor of rank {x.ndim}")
    order = memory_order(x)
    begins, ends = [pads[axis] for axis in order], [pads[x.ndim + axis] for axis in order]
    dense = x.transpose(order)
    kept = tuple(
        slice(max(0, -begin), extent - max(0, -end))
        for begin, end, extent in zip(begins, ends, dense.shape, strict=True)
    )
    widths = [(max(0, begin), max(0, end)) for begin, end in zip(begins, ends, strict=True)]
    if mode == "constant":
        padded = np.pad(dense[kept], widths, constant_values=np.asarray(value).astype(x.dtype))
    else:
        padded = np.pad(dense[kept], widths, mode=mode)
    return padded.transpose(np.argsort(order))


def expand(x: NDArray[Scalar], *, shape: Sequence[int]) -> NDArray[Scalar]:
    """x broadcast with `shape` in both directions, as ONNX does: a 1 in `shape` keeps x's extent.

    Raises ValueError when they do not broadcast.
    """
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


def cast(x: NDArray[Scalar], *, to: DTypeLike) -> NDArray[np.generic]:
    """x as another type: floats rounded to nearest, ties to even; float to integer cut towards zero.

    A float that its integer type cannot hold becomes the nearest bound, NaN becomes 0. Integers wrap.
    To bool: whether x != 0 (NaN is).
    """
    target = np.dtype(to)
    with np.errstate(all="ignore"):
        if not (np.issubdtype(x.dtype, np.floating) and np.issubdtype(target, np.integer)):
            return x.astype(target)
        bounds = np.iinfo(target)
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0))
        result = np.clip(whole, bounds.min, bounds.max).astype(target)
        # The largest int64 is no fp64: the bound rounds up to a value outside the type.
        return np.where(whole >= float(bounds.max), target.type(bounds.max), result)
