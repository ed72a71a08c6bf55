"""Initial data: weights and tables of constants as the bytes of their planes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from flexc.backends.stream.program import InitialData
from flexc.diagnostics import error
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import literal, place_of
from flexc.ir.placement import TABLE, Placement, Plane, placement_of
from flexc.ir.program import Graph
from flexc.numerics.lightnorm import lightnorm_infer_constants
from flexc.numerics.lightnorm_constants import range_constant
from flexc.numerics.quantization import quantize
from flexc.passes.scheduling.layout import has_constant_table, shape_of
from flexc.passes.scheduling.pool_grad_plan import windows_of

ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "m8": np.dtype("i1"),
    "m16": np.dtype("<i2"),
    "e8": np.dtype("u1"),
    "i64": np.dtype("<i8"),
    "i32": np.dtype("<i4"),
    "i1": np.dtype("u1"),
}
"""Elements of whole bytes."""


def pack_plane(values: NDArray[Any], plane: Plane) -> NDArray[np.uint8]:
    """The bytes of a plane that holds ``values``, padding zero."""
    strides = tuple(
        stride if extent > 1 else 0 for stride, extent in zip(plane.strides_bits, values.shape, strict=True)
    )
    if plane.format == "m4":
        return _pack_nibbles(values, strides, plane.size_bytes)
    content = np.zeros(plane.size_bytes, np.uint8)
    if values.size:
        dtype = ELEMENT_TYPES[plane.format]
        view = np.ndarray(values.shape, dtype, content, 0, tuple(stride // 8 for stride in strides))
        view[...] = values
    return content


def _pack_nibbles(values: NDArray[Any], strides: tuple[int, ...], size_bytes: int) -> NDArray[np.uint8]:
    """Mantissas of four bits in two's complement, the first in the low half of a byte."""
    nibbles = np.zeros(2 * size_bytes, np.uint8)
    view = np.ndarray(values.shape, np.uint8, nibbles, 0, tuple(stride // 4 for stride in strides))
    view[...] = values.view(np.uint8) & 15
    packed: NDArray[np.uint8] = np.bitwise_or(nibbles[0::2], np.left_shift(nibbles[1::2], np.uint8(4)))
    return packed


def initial_data(graph: Graph) -> Iterator[InitialData]:
    """The initial data of a graph, in program order.

    Raises CompileError FX426 where the weight store lacks a weight.
    """
    for op in graph.main.body.block.ops:
        placement = placement_of(op)
        if placement is not None and isinstance(op, nn.ConstantOp | bfp.ConstantOp):
            yield from _planes(placement, _constant(graph, op))
        table = placement_of(op, TABLE)
        if table is not None and has_constant_table(op):
            yield from _planes(table, _table(graph, op))


def _planes(placement: Placement, arrays: tuple[NDArray[Any], ...]) -> Iterator[InitialData]:
    for plane, array in zip(placement.planes, arrays, strict=True):
        assert plane.address_bytes is not None
        yield InitialData(plane.address_bytes, pack_plane(array, plane))


def _constant(graph: Graph, op: nn.ConstantOp | bfp.ConstantOp) -> tuple[NDArray[Any], ...]:
    key = op.key.data
    if key not in graph.weights:
        raise error(
            "FX426",
            f"the weight store has no '{key}'",
            place=place_of(op, graph.file),
            hint="a stream needs the values of its weights; compile from the model, not from IR text alone",
        )
    if isinstance(op, nn.ConstantOp):
        return (graph.weights.get(key),)
    assert isinstance(op.out.type, bfp.BlockTensorType)
    block = graph.weights.block(key, op.out.type)
    return block.mantissa, block.exponent


def _table(graph: Graph, op: Operation) -> tuple[NDArray[Any], ...]:
    if isinstance(op, lightnorm.InferOp):
        return (_norm_table(graph, op),)
    if isinstance(op, nn.AveragePoolOp | nn.AveragePoolGradOp):
        return (_divisors(op),)
    if isinstance(op, lightnorm.BackwardOp):
        channels, chunks = shape_of(op.argmax)
        positions = prod(shape_of(op.g)) // channels
        return (np.array([positions, range_constant(positions // chunks), chunks], np.float32),)
    assert isinstance(op, bfp.DequantizeOp)
    one = quantize(np.ones(1, np.float32), mantissa_bits=4, tile=(1,))
    return one.mantissa, one.exponent


def _norm_table(graph: Graph, op: lightnorm.InferOp) -> NDArray[np.float32]:
    """Rows mean, scale, gamma_q and beta."""
    gamma, beta, mean, variance = (
        _norm_constant(graph, op, value) for value in (op.gamma, op.beta, op.mean, op.var)
    )
    mean_stats, scale, gamma_q = lightnorm_infer_constants(
        gamma, mean, variance, eps=op.eps.value.data, rounding=op.rounding.data
    )
    return np.stack([mean_stats, scale, gamma_q, beta])


def _norm_constant(graph: Graph, op: lightnorm.InferOp, value: SSAValue) -> NDArray[np.float32]:
    owner = value.owner
    assert isinstance(owner, nn.ConstantOp)
    (array,) = _constant(graph, owner)
    return np.asarray(array, np.float32)


def _divisors(op: nn.AveragePoolOp | nn.AveragePoolGradOp) -> NDArray[np.float32]:
    """The elements that each window position counts."""
    windows = windows_of(op, shape_of(op.x if isinstance(op, nn.AveragePoolOp) else op.out))
    with_padding = bool(literal(op.count_include_pad))
    count = np.ones((), np.int64)
    for dim in range(windows.rank):
        count = np.multiply.outer(count, windows.covered(dim, with_padding=with_padding))
    return count.astype(np.float32)
