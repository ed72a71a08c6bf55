"""Tiles of a convolution: input rows and columns with their halo, filters, and the channels of the result."""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from typing import TypeAlias

from flexc.ir import bfp, nn
from flexc.ir.attributes import literal
from flexc.ir.mapping import Dim, Mapping
from flexc.ir.placement import Placement, Plane
from flexc.numerics.block_float import groups_shape
from flexc.passes.scheduling.contraction_tiles import (
    ContractionTiles,
    Extents,
    ResultAxis,
    block_tile,
    group_axis,
    loop_axis,
    result_axis,
    without_units,
)
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

AnyConvOp: TypeAlias = bfp.ConvOp | nn.ConvOp


def conv_extents(op: AnyConvOp) -> dict[Dim, int]:
    out, w = shape_of(op.out), shape_of(op.w)
    group = op.group.value.data
    spatial, taps = (1, *out[2:])[-2:], (1, *w[2:])[-2:]
    return {
        "g": group,
        "n": out[0],
        "p": spatial[0],
        "q": spatial[1],
        "o": out[1] // group,
        "k": w[1],
        "r": taps[0],
        "s": taps[1],
    }


def conv_tiles(op: AnyConvOp, mapping: Mapping, x: Placement, w: Placement) -> ContractionTiles:
    extents = conv_extents(op)
    loops = Extents.of(extents, mapping, {})
    x_shape, w_shape = shape_of(op.x), shape_of(op.w)
    x_tile, w_tile = block_tile(op.x.type), block_tile(op.w.type)
    groups, depth = extents["g"], extents["k"]
    result, channel_axis = _conv_result(op, loops)
    window = x_tile is not None and w_tile is not None and prod(w_tile[2:]) > 1
    a_group, b_group = (x_tile[1], 1 if window else w_tile[1]) if x_tile and w_tile else (0, 0)

    def outer(plane: Plane) -> list[TileAxis]:
        return [loop_axis("n", loops, plane.strides_bits[0]), *_window_axes(op, loops, plane)]

    mantissa = x.planes[0]
    channel = mantissa.strides_bits[1]
    if loops.tile["k"] == depth and groups > 1:
        count = loops.tile["g"] * depth
        channels = [TileAxis(channel, count, x_shape[1], 0, 1, {"g": count}, {"g": depth, "k": 1})]
    elif groups > 1:
        channels = [loop_axis("g", loops, channel * depth), loop_axis("k", loops, channel)]
    else:
        channels = [loop_axis("k", loops, channel)]
    a = Tile(without_units([*outer(mantissa), *channels], len(channels), loops), mantissa.bits, len(channels))

    a_exponent = None
    if x_tile is not None:
        plane = x.planes[1]
        if groups > 1:
            count = groups_shape(x_shape, x_tile)[1]
            along: dict[Hashable, int] = {"g": 1} if depth == 1 else {"k": 1}
            exponents = TileAxis(plane.strides_bits[1], count, count, position=along)
        else:
            exponents = group_axis(loops, a_group, plane.strides_bits[1])
        a_exponent = Tile(without_units([*outer(plane), exponents], 1, loops), 8)

    b, b_exponent = _kernel_tiles(loops, w, w_shape, w_tile, window)
    return ContractionTiles(
        loops,
        a,
        a_exponent,
        b,
        b_exponent,
        result,
        channel_axis,
        a_group,
        b_group,
        (1, 0) if groups > 1 and depth == 1 else (depth if groups > 1 else 0, 1),
        (0, 0) if window else (0, 1),
        (groups > 1, False),
    )


def _window_axes(op: AnyConvOp, loops: Extents, plane: Plane) -> list[TileAxis]:
    """The input rows and columns that a tile's windows cover, halo included; one tap is read in steps."""
    x_shape, taps = shape_of(op.x), shape_of(op.w)[2:]
    strides, dilations, pads = literal(op.stride), literal(op.dilation), literal(op.pads)
    assert isinstance(strides, tuple)
    assert isinstance(dilations, tuple)
    assert isinstance(pads, tuple)
    names: tuple[tuple[Dim, Dim], ...] = (("p", "r"), ("q", "s"))
    axes = []
    for i, (out, tap) in enumerate(names[-len(taps) :]):
        stride, dilation, tile = int(strides[i]), int(dilations[i]), loops.tile[out]
        single = taps[i] == 1
        axes.append(
            TileAxis(
                plane.strides_bits[2 + i],
                tile if single else (tile - 1) * stride + (taps[i] - 1) * dilation + 1,
                x_shape[2 + i],
                -int(pads[i]),
                stride if single else 1,
                {out: tile * stride},
                {out: 1 if single else stride, tap: 0 if single else dilation},
            )
        )
    return axes


def _kernel_tiles(
    loops: Extents, w: Placement, w_shape: tuple[int, ...], w_tile: tuple[int, ...] | None, window: bool
) -> tuple[Tile, Tile | None]:
    per_group = loops.extent["o"]
    mantissa = w.planes[0]
    taps: list[Dim] = ["r", "s"]
    spatial = list(zip(taps[-len(w_shape[2:]) :], range(2, len(w_shape)), strict=True))

    def filters(plane: Plane) -> list[TileAxis]:
        stride = plane.strides_bits[0]
        if loops.tile["o"] == per_group:
            count = loops.tile["g"] * per_group
            return [TileAxis(stride, count, w_shape[0], 0, 1, {"g": count}, {"g": per_group, "o": 1})]
        return [loop_axis("g", loops, stride * per_group), loop_axis("o", loops, stride)]

    def kernel(plane: Plane) -> list[TileAxis]:
        return [loop_axis(tap, loops, plane.strides_bits[dim]) for tap, dim in spatial]

    if window:
        innermost = filters(mantissa)
        b = Tile(
            without_units([*kernel(mantissa), *innermost], len(innermost), loops),
            mantissa.bits,
            len(innermost),
        )
        return b, Tile(without_units(filters(w.planes[1]), 1, loops), 8)
    depth = loop_axis("k", loops, mantissa.strides_bits[1])
    b = Tile(without_units([*filters(mantissa), *kernel(mantissa), depth], 1, loops), mantissa.bits)
    if w_tile is None:
        return b, None
    plane = w.planes[1]
    groups = group_axis(loops, w_tile[1], plane.strides_bits[1])
    return b, Tile(without_units([*filters(plane), *kernel(plane), groups], 1, loops), 8)


def _conv_result(op: AnyConvOp, loops: Extents) -> tuple[tuple[ResultAxis, ...], int | None]:
    shape = shape_of(op.out)
    names: tuple[Dim, ...] = ("p", "q")
    spatial = list(zip(names[-len(shape[2:]) :], range(2, len(shape)), strict=True))
    axes = [result_axis(dim, (logical,), loops) for dim, logical in [("n", 0), *spatial]]
    axes = [axis for axis in axes if axis.extent > 1]
    channels, together = channel_axes(loops, 1, shape[1])
    return (*axes, *channels), len(axes) if together else None


def channel_axes(loops: Extents, dim: int, channels: int) -> tuple[list[ResultAxis], bool]:
    """The axes of the result's ``channels`` along its dimension ``dim``, and whether they are one axis."""
    groups, per_group = loops.extent["g"], loops.extent["o"]
    if loops.chip_tile("o") >= per_group and loops.cores.get("o", 1) == 1 and loops.tile["o"] == per_group:
        count = loops.tile["g"] * per_group
        return [ResultAxis((dim,), channels, count, {"g": count}, {"g": per_group, "o": 1})], True
    if groups == 1:
        return [result_axis("o", (dim,), loops)], True
    return [result_axis("g", (dim,), loops, per_group), result_axis("o", (dim,), loops)], False
