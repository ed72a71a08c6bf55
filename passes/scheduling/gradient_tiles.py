"""Tiles of a convolution's gradients: phases of the local gradient, and the weight gradient.

The local gradient of a strided convolution falls into dense phases (machine description, "Loop dimensions").
A phase reads rows of g that rise with the row made and fall with the tap, taps being met in the order of the
filter's: numerics, section 2.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

from flexc.ir import bfp, nn
from flexc.ir.mapping import DIMS, Dim, Mapping
from flexc.ir.placement import Placement, Plane
from flexc.mapping.from_gradients import forward_of_window
from flexc.mapping.gradients import Phase, phases
from flexc.mapping.window import window_of
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
from flexc.passes.scheduling.conv_tiles import channel_axes
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

LocalGradOp: TypeAlias = bfp.ConvLocalGradOp | nn.ConvLocalGradOp
WeightGradOp: TypeAlias = bfp.ConvWeightGradOp | nn.ConvWeightGradOp
PhasePair: TypeAlias = tuple[Phase, Phase]
"""The phases of rows and of columns."""


def phases_of(op: LocalGradOp) -> tuple[PhasePair, ...]:
    """The phases of a local gradient in the order of its mappings."""
    forward = forward_of_window(window_of(op))
    return tuple((rows, columns) for rows in phases(forward, 0) for columns in phases(forward, 1))


def local_grad_extents(op: LocalGradOp, phase: PhasePair) -> dict[Dim, int]:
    """The extents of the loop dimensions of one phase."""
    window = window_of(op)
    rows, columns = phase
    return {
        "g": window.groups,
        "n": window.images,
        "p": rows.extent,
        "q": columns.extent,
        "o": window.channels // window.groups,
        "k": window.outputs // window.groups,
        "r": rows.taps,
        "s": columns.taps,
    }


def weight_grad_extents(op: WeightGradOp) -> dict[Dim, int]:
    """The extents of the loop dimensions of a weight gradient."""
    window = window_of(op)
    extents = (
        window.groups,
        window.channels // window.groups,
        *window.taps,
        window.outputs // window.groups,
        window.images,
        *window.output_extents,
    )
    return dict(zip(DIMS, extents, strict=True))


def local_grad_tiles(
    op: LocalGradOp, phase: PhasePair, mapping: Mapping, g: Placement, w: Placement
) -> ContractionTiles:
    """The tiles of one phase."""
    loops = Extents.of(local_grad_extents(op, phase), mapping, {})
    groups, depth = loops.extent["g"], loops.extent["k"]
    g_shape, w_shape = shape_of(op.g), shape_of(op.w)
    g_tile, w_tile = block_tile(op.g.type), block_tile(op.w.type)
    spatial = len(g_shape) - 2

    def positions(plane: Plane) -> list[TileAxis]:
        axes = _phase_axes(loops, phase, plane.strides_bits[2:], g_shape[2:])
        return [loop_axis("n", loops, plane.strides_bits[0]), *axes]

    def taps(plane: Plane) -> list[TileAxis]:
        return _tap_axes(loops, phase, plane.strides_bits[2:], w_shape[2:])

    channels = _reduced_channels(loops, g.planes[0].strides_bits[1], g_shape[1])
    a = Tile(
        without_units([*positions(g.planes[0]), *channels], len(channels), loops),
        g.planes[0].bits,
        len(channels),
    )
    made = loop_axis("o", loops, w.planes[0].strides_bits[1])
    filters = _reduced_channels(loops, w.planes[0].strides_bits[0], w_shape[0])
    window = w_tile is not None and any(extent > 1 for extent in w_tile[2:])
    outer = [*taps(w.planes[0]), made] if window else [made, *taps(w.planes[0])]
    b = Tile(without_units([*outer, *filters], len(filters), loops), w.planes[0].bits, len(filters))

    a_exponent = b_exponent = None
    a_group = b_group = 0
    a_axis = (1, 0) if groups > 1 and depth == 1 else (depth if groups > 1 else 0, 1)
    b_axis, b_whole = a_axis, groups > 1
    if g_tile is not None and w_tile is not None:
        a_group, b_group = g_tile[1], w_tile[0]
        plane = g.planes[1]
        along = _exponent_axis(loops, a_group, plane.strides_bits[1], groups_shape(g_shape, g_tile)[1])
        a_exponent = Tile(without_units([*positions(plane), along], 1, loops), 8)
        plane = w.planes[1]
        if window:
            b_axis, b_whole = (0, 0) if depth == 1 else (0, 1), False
            b_exponent = Tile(_reduced_channels(loops, plane.strides_bits[0], w_shape[0]), 8)
        else:
            along = _exponent_axis(loops, b_group, plane.strides_bits[0], groups_shape(w_shape, w_tile)[0])
            made = loop_axis("o", loops, plane.strides_bits[1])
            b_exponent = Tile(without_units([made, *taps(plane), along], 1, loops), 8)

    rows, columns = phase
    strides = tuple(op.stride.get_values())
    walked: tuple[tuple[Dim, int], ...] = tuple(zip(_spatial("p", "q", spatial), strides, strict=True))
    axes = [result_axis("n", (0,), loops)]
    axes += [result_axis(dim, (2 + i,), loops, stride) for i, (dim, stride) in enumerate(walked)]
    axes = [axis for axis in axes if axis.extent > 1]
    made_axes, together = channel_axes(loops, 1, shape_of(op.out)[1])
    return ContractionTiles(
        loops,
        a,
        a_exponent,
        b,
        b_exponent,
        (*axes, *made_axes),
        len(axes) if together else None,
        a_group,
        b_group,
        a_axis,
        b_axis,
        (groups > 1, b_whole),
        (0, 0, *(rows.first, columns.first)[-spatial:]),
    )


def weight_grad_tiles(op: WeightGradOp, mapping: Mapping, g: Placement, x: Placement) -> ContractionTiles:
    """The tiles of a weight gradient: x is operand a, g operand b, images are reduced first."""
    loops = Extents.of(weight_grad_extents(op), mapping, {})
    x_shape, x_tile, g_tile = shape_of(op.x), block_tile(op.x.type), block_tile(op.g.type)
    spatial = len(x_shape) - 2
    g_rows = _spatial("r", "s", spatial)

    def read(plane: Plane) -> list[TileAxis]:
        rows = _correlated_axes(op, loops, plane.strides_bits[2:], x_shape[2:])
        return [*rows, *_channels(loops, "n", plane.strides_bits[1], x_shape[1])]

    def weighed(plane: Plane) -> list[TileAxis]:
        rows = [loop_axis(dim, loops, plane.strides_bits[2 + i]) for i, dim in enumerate(g_rows)]
        return [*rows, *_channels(loops, "o", plane.strides_bits[1], shape_of(op.g)[1])]

    def mantissas(axes: list[TileAxis], plane: Plane) -> Tile:
        images = loop_axis("k", loops, plane.strides_bits[0])
        return Tile(without_units([*axes, images], 1, loops), plane.bits)

    def exponents(axes: list[TileAxis], plane: Plane, group: int) -> Tile:
        return Tile(without_units([*axes, group_axis(loops, group, plane.strides_bits[0])], 1, loops), 8)

    a_exponent = b_exponent = None
    a_group = b_group = 0
    if x_tile is not None and g_tile is not None:
        a_group, b_group = x_tile[0], g_tile[0]
        a_exponent = exponents(read(x.planes[1]), x.planes[1], a_group)
        b_exponent = exponents(weighed(g.planes[1]), g.planes[1], b_group)
    taps = zip(_spatial("p", "q", spatial), range(2, 2 + spatial), strict=True)
    made = [result_axis("n", (1,), loops), *(result_axis(dim, (axis,), loops) for dim, axis in taps)]
    filters, _ = channel_axes(loops, 0, shape_of(op.out)[0])
    result: tuple[ResultAxis, ...] = (*(axis for axis in made if axis.extent > 1), *filters)
    return ContractionTiles(
        loops,
        mantissas(read(x.planes[0]), x.planes[0]),
        a_exponent,
        mantissas(weighed(g.planes[0]), g.planes[0]),
        b_exponent,
        result,
        None,
        a_group,
        b_group,
    )


def _spatial(rows: Dim, columns: Dim, rank: int) -> tuple[Dim, ...]:
    """The loop dimensions of ``rank`` spatial dimensions."""
    return (rows, columns)[-rank:]


def _phase_axes(
    loops: Extents, phase: PhasePair, strides_bits: Sequence[int], extents: Sequence[int]
) -> list[TileAxis]:
    """The rows and columns of g that a tile's windows cover."""
    rank = len(extents)
    names = zip(_spatial("p", "q", rank), _spatial("r", "s", rank), phase[-rank:], strict=True)
    axes = []
    for (out, tap, one), stride_bits, extent in zip(names, strides_bits, extents, strict=True):
        tile, halo = loops.tile[out], (one.taps - 1) * one.dilation
        axes.append(
            TileAxis(
                stride_bits,
                tile + halo,
                extent,
                -one.pad_begin,
                1,
                {out: tile},
                {out: 1, tap: -one.dilation},
                halo,
            )
        )
    return axes


def _tap_axes(
    loops: Extents, phase: PhasePair, strides_bits: Sequence[int], extents: Sequence[int]
) -> list[TileAxis]:
    """The taps of the filter that reach the phase."""
    rank = len(extents)
    names = zip(_spatial("r", "s", rank), phase[-rank:], strict=True)
    return [
        TileAxis(stride_bits, loops.tile[tap], extent, one.first_tap, one.tap_step, {}, {tap: 1})
        for (tap, one), stride_bits, extent in zip(names, strides_bits, extents, strict=True)
    ]


def _correlated_axes(
    op: WeightGradOp, loops: Extents, strides_bits: Sequence[int], extents: Sequence[int]
) -> list[TileAxis]:
    """The rows and columns of x that the taps of a tile meet; of one tap, or for one row, only those."""
    rank = len(extents)
    names = zip(_spatial("p", "q", rank), _spatial("r", "s", rank), strict=True)
    steps = zip(op.stride.get_values(), op.dilation.get_values(), op.pads.get_values(), strict=False)
    axes = []
    for (tap, row), (stride, dilation, pad), stride_bits, extent in zip(
        names, steps, strides_bits, extents, strict=True
    ):
        rows, taps = loops.tile[row], loops.tile[tap]
        advance: dict[Hashable, int] = {row: rows * stride, tap: taps * dilation}
        if rows == 1:
            # Taps are apart by the dilation, and nothing in between is read.
            axis = TileAxis(stride_bits, taps, extent, -pad, dilation, advance, {tap: 1})
        elif loops.extent[tap] == 1:
            axis = TileAxis(stride_bits, rows, extent, -pad, stride, advance, {row: 1})
        else:
            count = (rows - 1) * stride + (taps - 1) * dilation + 1
            axis = TileAxis(stride_bits, count, extent, -pad, 1, advance, {row: stride, tap: dilation})
        axes.append(axis)
    return axes


def _channels(loops: Extents, inner: Dim, stride_bits: int, extent: int) -> list[TileAxis]:
    """The channel axis of an operand: g and ``inner``, one axis where all of ``inner`` is in the tile."""
    per_group = loops.extent[inner]
    if loops.extent["g"] == 1:
        return [loop_axis(inner, loops, stride_bits)]
    if loops.tile[inner] == per_group:
        count = loops.tile["g"] * per_group
        return [TileAxis(stride_bits, count, extent, 0, 1, {"g": count}, {"g": per_group, inner: 1})]
    return [loop_axis("g", loops, stride_bits * per_group), loop_axis(inner, loops, stride_bits)]


def _reduced_channels(loops: Extents, stride_bits: int, extent: int) -> tuple[TileAxis, ...]:
    return tuple(_channels(loops, "k", stride_bits, extent))


def _exponent_axis(loops: Extents, group: int, stride_bits: int, groups: int) -> TileAxis:
    """Exponents along k; those of the whole axis where convolution groups share it."""
    if loops.extent["g"] == 1:
        return group_axis(loops, group, stride_bits)
    return TileAxis(stride_bits, groups, groups, position={"g" if loops.extent["k"] == 1 else "k": 1})
