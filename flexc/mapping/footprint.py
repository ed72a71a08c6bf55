"""Bytes that the tiles of a contraction take in a core's buffers. Works on ints and on arrays alike.

Sizes are those of the packed formats: the mantissas of one pixel (row, filter tap) are rounded up to whole
bytes, exponents take a byte each, accumulators four.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexc.mapping.problem import ContractionProblem

Extent = TypeVar("Extent", int, NDArray[np.int64])
ACCUMULATOR_BYTES = 4


def window_span(outputs: Extent, taps: Extent, stride: int, dilation: int) -> Extent:
    """Rows (or columns) of operand a that ``outputs`` positions read through ``taps`` taps.

    A single tap is read with a step of ``stride``, so it spans one row an output.
    """
    span = (outputs - 1) * stride + (taps - 1) * dilation + 1
    read: Extent = span - (span - outputs) * (taps == 1)
    return read


def packed_bytes(elements: Extent, bits: int) -> Extent:
    """Bytes of one vector of mantissas."""
    return -(elements * -bits // 8)


def a_tile_bytes(
    problem: ContractionProblem, g: Extent, n: Extent, p: Extent, q: Extent, k: Extent, r: Extent, s: Extent
) -> Extent:
    """Operand a's mantissas and exponents for one tile, halo included.

    Where conv groups share the channel axis, the exponents of the whole axis come with every pixel.
    """
    if problem.kind == "matmul":
        return g * p * (packed_bytes(k, problem.a_bits) + -(-k // problem.a_group) * problem.exponent_bytes)
    rows = window_span(p, r, problem.stride[0], problem.dilation[0])
    columns = window_span(q, s, problem.stride[1], problem.dilation[1])
    if problem.grouped_channels:
        exponents = -(-problem.a_channels // problem.a_group) * problem.exponent_bytes
        return n * rows * columns * (packed_bytes(g * k, problem.a_bits) + exponents)
    exponents_of_k = -(-k // problem.a_group) * problem.exponent_bytes
    return g * n * rows * columns * (packed_bytes(k, problem.a_bits) + exponents_of_k)


def b_tile_bytes(
    problem: ContractionProblem, g: Extent, o: Extent, k: Extent, r: Extent, s: Extent
) -> Extent:
    """Operand b's mantissas and exponents for one tile."""
    mantissas = r * s * packed_bytes(k, problem.b_bits)
    exponents = r * s * -(-k // problem.b_group) if problem.b_group_dim == "k" else 1
    return g * o * (mantissas + exponents * problem.exponent_bytes)


def accumulator_tile_bytes(g: Extent, n: Extent, p: Extent, q: Extent, o: Extent) -> Extent:
    """The fp32 accumulators of one tile's outputs."""
    return g * n * p * q * o * ACCUMULATOR_BYTES


def holds_whole_groups(problem: ContractionProblem, chip_g: Extent, chip_o: Extent) -> Any:
    """Whether a tile of all cores holds whole groups of the quantization that follows: bool, or an array.

    Channels of the result are ``g * O + o`` in a convolution, ``o`` in a matrix product.
    """
    g, o = problem.extent("g"), problem.extent("o")
    group = problem.output_group or 1
    o_whole = chip_o >= o
    cut_between_groups = chip_o % group == 0
    if problem.kind == "matmul" or g == 1:
        return o_whole | cut_between_groups
    g_whole = (chip_g >= g) | (chip_g * o % group == 0)
    return (o_whole & g_whole) | (cut_between_groups & (o % group == 0))
