"""Tiles of a matrix product, batched or not.

Without batch dimensions in b, the rows of all batches of a are rows of one matrix. Batch dimensions that do
not lie at one stride in every operand (a broadcast in the middle) become loops outside all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

from flexc.ir import bfp, nn
from flexc.ir.mapping import Dim, Mapping
from flexc.ir.placement import Placement, Plane
from flexc.numerics.block_float import groups_shape
from flexc.passes.scheduling.contraction_tiles import (
    BatchLoop,
    ContractionTiles,
    Extents,
    ResultAxis,
    block_tile,
    group_axis,
    loop_axis,
    merged_stride,
    result_axis,
)
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

AnyMatMulOp: TypeAlias = bfp.MatMulOp | nn.MatMulOp


def matmul_extents(op: AnyMatMulOp) -> dict[Dim, int]:
    """The extents of the loop dimensions: batches are g, or more rows p where b has none."""
    out = shape_of(op.out)
    batch, rows = prod(out[:-2]), out[-2]
    shared = prod(shape_of(op.b)[:-2]) == 1
    g, p = (1, batch * rows) if shared else (batch, rows)
    return {"g": g, "n": 1, "p": p, "q": 1, "o": out[-1], "k": shape_of(op.a)[-1], "r": 1, "s": 1}


def matmul_tiles(op: AnyMatMulOp, mapping: Mapping, a: Placement, b: Placement) -> ContractionTiles:
    shape = shape_of(op.out)
    rank = len(shape)
    extents = matmul_extents(op)
    a_dims, b_dims = _aligned(shape_of(op.a), rank), _aligned(shape_of(op.b), rank)
    a_tile, b_tile = block_tile(op.a.type), block_tile(op.b.type)
    a_shapes = [a_dims] if a_tile is None else [a_dims, groups_shape(a_dims, _aligned(a_tile, rank))]
    b_shapes = [b_dims] if b_tile is None else [b_dims, groups_shape(b_dims, _aligned(b_tile, rank))]
    planes = [
        (_aligned_plane(plane, rank), plane_shape)
        for placement, shapes in ((a, a_shapes), (b, b_shapes))
        for plane, plane_shape in zip(placement.planes, shapes, strict=True)
    ]
    shared = prod(b_dims[:-2]) == 1
    candidates = (*range(rank - 2), rank - 2) if shared else tuple(range(rank - 2))
    walked = planes[: len(a.planes)] if shared else planes
    run = _even_run(candidates, shape, walked)
    outer = {BatchLoop(dim): shape[dim] for dim in candidates if dim not in run and shape[dim] > 1}
    merged: Dim = "p" if shared else "g"
    loops = Extents.of({**extents, merged: prod(shape[dim] for dim in run)}, mapping, outer)

    def batch(plane: Plane, plane_shape: Sequence[int]) -> list[TileAxis]:
        axes = [
            TileAxis(plane.strides_bits[loop.dim], 1, shape[loop.dim], advance={loop: 1})
            for loop in outer
            if plane_shape[loop.dim] > 1
        ]
        if not shared and prod(plane_shape[dim] for dim in run) > 1:
            axes.append(loop_axis("g", loops, merged_stride(plane, plane_shape, run) or 0))
        return axes

    def rows(plane: Plane, plane_shape: Sequence[int]) -> TileAxis:
        stride = merged_stride(plane, plane_shape, run) if shared else plane.strides_bits[-2]
        return loop_axis("p", loops, stride or 0)

    a_plane, b_plane = planes[0], planes[len(a.planes)]
    left = Tile(
        (*batch(*a_plane), rows(*a_plane), loop_axis("k", loops, a_plane[0].strides_bits[-1])),
        a_plane[0].bits,
    )
    right_axes = [
        loop_axis("o", loops, b_plane[0].strides_bits[-1]),
        loop_axis("k", loops, b_plane[0].strides_bits[-2]),
    ]
    right = Tile((*([] if shared else batch(*b_plane)), *right_axes), b_plane[0].bits)
    left_exponent = right_exponent = None
    if a_tile is not None and b_tile is not None:
        plane, plane_shape = planes[1]
        groups = group_axis(loops, a_tile[-1], plane.strides_bits[-1])
        left_exponent = Tile((*batch(plane, plane_shape), rows(plane, plane_shape), groups), 8)
        plane, plane_shape = planes[3]
        groups = group_axis(loops, b_tile[-2], plane.strides_bits[-2])
        columns = loop_axis("o", loops, plane.strides_bits[-1])
        right_exponent = Tile((*([] if shared else batch(plane, plane_shape)), columns, groups), 8)
    result = [ResultAxis((loop.dim,), shape[loop.dim], 1, {loop: 1}, {}) for loop in outer]
    if shared:
        result.append(result_axis("p", run, loops))
    else:
        result += [result_axis("g", run, loops)] if loops.extent["g"] > 1 else []
        result.append(result_axis("p", (rank - 2,), loops))
    result.append(result_axis("o", (rank - 1,), loops))
    return ContractionTiles(
        loops,
        left,
        left_exponent,
        right,
        right_exponent,
        tuple(result),
        len(result) - 1,
        a_tile[-1] if a_tile else 0,
        b_tile[-2] if b_tile else 0,
    )


def _aligned(extents: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(extents)) + extents


def _aligned_plane(plane: Plane, rank: int) -> Plane:
    strides = (0,) * (rank - len(plane.strides_bits)) + plane.strides_bits
    return Plane(plane.format, plane.size_bytes, strides, plane.address_bytes)


def _even_run(
    candidates: Sequence[int], shape: Sequence[int], planes: Sequence[tuple[Plane, Sequence[int]]]
) -> tuple[int, ...]:
    """The longest run of innermost candidates that every plane walks at one stride.

    A plane that is broadcast along the whole run stands still; one broadcast along a part of it does not.
    """
    run: tuple[int, ...] = ()
    for dim in reversed(candidates):
        longer = (dim, *run)
        moving = [one for one in longer if shape[one] > 1]
        for plane, plane_shape in planes:
            walked = [one for one in moving if plane_shape[one] > 1]
            if walked and (walked != moving or merged_stride(plane, plane_shape, moving) is None):
                return run
        run = longer
    return run
