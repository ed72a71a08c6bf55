"""Contractions one product at a time, as the text says (numerics specification, section 2); slow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.block_float import EXPONENT_BIAS, BlockTensor
from flexc.numerics.errors import require_finite

Index = tuple[int, ...]
Term = tuple[Index, Index]
"""The indices in a and in b of the two factors of one product."""


def round_to_fp32(integer: int, exponent: int) -> np.float32:
    """RN32(integer * 2^exponent): one rounding, ties to even, subnormals kept, infinity past the largest."""
    magnitude = abs(integer)
    # The last place of the result: 23 below the leading bit, but never below the least subnormal.
    last_place = max(magnitude.bit_length() + exponent - 24, -149)
    shift = last_place - exponent
    if shift > 0:
        quotient, rest = divmod(magnitude, 1 << shift)
        half = 1 << (shift - 1)
        magnitude = quotient + (rest > half or (rest == half and quotient % 2 == 1))
    else:
        magnitude <<= -shift
    if magnitude == 0:
        return np.float32(0)
    if magnitude.bit_length() + last_place > 128:
        return np.float32(np.inf if integer > 0 else -np.inf)
    rounded = np.ldexp(np.float32(magnitude), last_place)
    return np.float32(rounded if integer > 0 else -rounded)


def sum_of_products(a: BlockTensor, b: BlockTensor, terms: Iterable[Term]) -> np.float32:
    """One output, from its products in canonical order."""
    segments: dict[Term, int] = {}
    for a_index, b_index in terms:
        segment = _group(a, a_index), _group(b, b_index)
        products = int(a.mantissa[a_index]) * int(b.mantissa[b_index])
        segments[segment] = segments.get(segment, 0) + products
    acc = np.float32(0)
    with np.errstate(all="ignore"):
        for (a_group, b_group), total in segments.items():
            acc += round_to_fp32(total, _unit_exponent(a, a_group) + _unit_exponent(b, b_group))
    return acc


def add_bias(y: NDArray[np.float32], bias: NDArray[np.float32] | None, op: str) -> NDArray[np.float32]:
    """``y + bias`` in fp32, where ``bias`` broadcasts to ``y``; the result is checked to be finite."""
    if bias is not None:
        require_finite(bias, op, "bias")
        with np.errstate(all="ignore"):
            y = y + bias
    require_finite(y, op, "y")
    return y


def block_matmul_reference(
    a: BlockTensor, b: BlockTensor, bias: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.block_matmul` must return."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    y = np.zeros((*batch, rows, columns), np.float32)
    for position, i, j in product(np.ndindex(batch), range(rows), range(columns)):
        a_batch, b_batch = _broadcast_index(position, a), _broadcast_index(position, b)
        terms = (((*a_batch, i, k), (*b_batch, k, j)) for k in range(depth))
        y[(*position, i, j)] = sum_of_products(a, b, terms)
    return add_bias(y, bias, "block_matmul")


def _broadcast_index(position: Index, operand: BlockTensor) -> Index:
    dims = operand.shape[:-2]
    return tuple(
        0 if dim == 1 else i for i, dim in zip(position[len(position) - len(dims) :], dims, strict=True)
    )


def _group(operand: BlockTensor, index: Index) -> Index:
    return tuple(i // extent for i, extent in zip(index, operand.tile, strict=True))


def _unit_exponent(operand: BlockTensor, group: Index) -> int:
    return int(operand.exponent[group]) - EXPONENT_BIAS - (operand.format.magnitude_bits - 1)
