"""Tiles of a contraction's operands and result, from its mapping and the layout of the operands in DRAM.

Loop dimensions are those of :mod:`flexc.ir.mapping`. Batch dimensions of a matrix product that do not lie at
one stride in every operand (a broadcast in the middle) become loops of their own, outside all others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from flexc.ir import bfp, nn
from flexc.ir.mapping import DIMS, Dim
from flexc.ir.mapping import Mapping as LoopMapping
from flexc.ir.placement import Plane
from flexc.passes.scheduling.tile_boxes import Tile, TileAxis

ContractionOp: TypeAlias = (
    bfp.ConvOp
    | bfp.MatMulOp
    | bfp.ConvLocalGradOp
    | bfp.ConvWeightGradOp
    | nn.ConvOp
    | nn.MatMulOp
    | nn.ConvLocalGradOp
    | nn.ConvWeightGradOp
)
REDUCED_DIMS: tuple[Dim, ...] = ("k", "r", "s")
"""The loops over what is summed: always the innermost ones."""


@dataclass(frozen=True)
class BatchLoop:
    """A batch dimension of the result that is walked one entry at a time."""

    dim: int


@dataclass(frozen=True)
class Extents:
    """Extent, tile and cores of every loop dimension; tiles are cut to the extents."""

    extent: Mapping[Hashable, int]
    tile: Mapping[Hashable, int]
    cores: Mapping[Hashable, int]
    order: tuple[Hashable, ...]

    @classmethod
    def of(cls, extents: Mapping[Dim, int], mapping: LoopMapping, outer: Mapping[BatchLoop, int]) -> Extents:
        """The loops of ``mapping`` inside those of ``outer``."""
        extent: dict[Hashable, int] = {dim: extents[dim] for dim in DIMS}
        tile: dict[Hashable, int] = {dim: min(mapping.tile_of(dim), extents[dim]) for dim in DIMS}
        for loop, count in outer.items():
            extent[loop], tile[loop] = count, 1
        cores: dict[Hashable, int] = {}
        for factor in mapping.cores:
            if factor.factor > 1:
                cores[factor.dim] = cores.get(factor.dim, 1) * factor.factor
        return cls(extent, tile, cores, (*outer, *mapping.order))

    def chip_tile(self, dim: Hashable) -> int:
        """The extent of a dimension in the tiles of all cores together."""
        return self.tile[dim] * self.cores.get(dim, 1)

    def trips(self, dim: Hashable) -> int:
        """Iterations of the loop over DRAM."""
        return -(-self.extent[dim] // self.chip_tile(dim))

    def loops(self) -> tuple[tuple[Hashable, int], ...]:
        """The loops with more than one iteration, outermost first."""
        return tuple((dim, self.trips(dim)) for dim in self.order if self.trips(dim) > 1)


@dataclass(frozen=True)
class ResultAxis:
    """One dimension of the result as the tile program walks it.

    It stands for the logical dimensions ``dims`` merged (outermost first), each element of it being
    ``multiplier`` elements of the innermost.
    """

    dims: tuple[int, ...]
    extent: int
    count: int
    advance: Mapping[Hashable, int]
    position: Mapping[Hashable, int]
    multiplier: int = 1

    def over(self, plane: Plane, shape: Sequence[int]) -> TileAxis | None:
        """The axis in a plane of the result; None where its dimensions do not lie at one stride there."""
        stride = merged_stride(plane, shape, self.dims)
        if stride is None:
            return None
        return TileAxis(
            stride * self.multiplier, self.count, self.extent, advance=self.advance, position=self.position
        )


@dataclass(frozen=True)
class ContractionTiles:
    """Everything about a contraction that does not depend on what follows it.

    The exponents are None for fp32 operands. ``a_axis`` and ``b_axis`` weigh g and k in the coordinate that
    the groups are laid on; ``whole_axis`` says that a's (b's) exponents come for the whole of it.
    ``channel_axis`` is the index in ``result`` of the one axis of all channels (columns), None where g and o
    stay apart. ``first`` is the index of the first element of the result that is made (none: index 0).
    """

    extents: Extents
    a: Tile
    a_exponent: Tile | None
    b: Tile
    b_exponent: Tile | None
    result: tuple[ResultAxis, ...]
    channel_axis: int | None
    a_group: int = 0
    b_group: int = 0
    a_axis: tuple[int, int] = (0, 1)
    b_axis: tuple[int, int] = (0, 1)
    whole_axis: tuple[bool, bool] = (False, False)
    first: tuple[int, ...] = ()

    @property
    def accumulator(self) -> Tile:
        """The fp32 accumulators of one core's tile."""
        axes = tuple(
            TileAxis(0, axis.count, axis.extent, advance=axis.advance, position=axis.position)
            for axis in self.result
        )
        return Tile(axes, 32)


def merged_stride(plane: Plane, shape: Sequence[int], dims: Sequence[int]) -> int | None:
    """The bits between neighbours of several dimensions merged; None where they do not lie evenly."""
    moving = [dim for dim in dims if shape[dim] > 1]
    if not moving:
        return plane.strides_bits[dims[-1]] if dims else 0
    for outer, inner in pairwise(moving):
        if plane.strides_bits[outer] != plane.strides_bits[inner] * shape[inner]:
            return None
    return plane.strides_bits[moving[-1]]


def loop_axis(dim: Hashable, loops: Extents, stride_bits: int) -> TileAxis:
    """An axis that is loop dimension ``dim`` itself."""
    tile = loops.tile[dim]
    return TileAxis(stride_bits, tile, loops.extent[dim], advance={dim: tile}, position={dim: 1})


def group_axis(loops: Extents, group: int, stride_bits: int) -> TileAxis:
    """The axis of exponents along k."""
    tile, extent = loops.tile["k"], loops.extent["k"]
    return TileAxis(
        stride_bits, -(-tile // group), -(-extent // group), advance={"k": tile // group}, position={"k": 1}
    )


def without_units(axes: Sequence[TileAxis], kept: int, loops: Extents) -> tuple[TileAxis, ...]:
    """The axes without those of one element, the ``kept`` innermost ones staying in any case.

    An axis of one element that is ever in the padding stays: all of it is outside then.
    """
    outer = len(axes) - kept

    def is_unit(axis: TileAxis) -> bool:
        moves = any(loops.extent[dim] > 1 for dim in axis.advance)
        return (axis.limit, axis.count, axis.start) == (1, 1, 0) and not moves

    return tuple(axis for i, axis in enumerate(axes) if i >= outer or not is_unit(axis))


def block_tile(value_type: object) -> tuple[int, ...] | None:
    """The tile of a block tensor's type, None for a plain one."""
    return value_type.get_tile() if isinstance(value_type, bfp.BlockTensorType) else None


def result_axis(dim: Hashable, dims: tuple[int, ...], loops: Extents, multiplier: int = 1) -> ResultAxis:
    """The axis of the result that is loop dimension ``dim``."""
    tile = loops.tile[dim]
    return ResultAxis(dims, loops.extent[dim], tile, {dim: tile}, {dim: 1}, multiplier)
