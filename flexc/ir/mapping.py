"""How one contraction is laid over the machine: the loop factors of every level.

Loop dimensions of a contraction, whatever the pass, under the names of the forward convolution:

====  ========================================================================================
dim   meaning (forward; local gradient and weight gradient rename, see docs/hardware.md)
====  ========================================================================================
g     conv groups (depthwise: the channels), or the batch of a batched matmul
n     images
p, q  output rows and columns (matmul: p is the row of the output, q is 1)
o     output channels of a group (matmul: columns)
k     the reduced axis that carries the groups of both operands (input channels; matmul: K)
r, s  kernel rows and columns
====  ========================================================================================

Segments are met with k outermost, then r, then s (numerics, section 2), at every level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

Dim: TypeAlias = Literal["g", "n", "p", "q", "o", "k", "r", "s"]
DIMS: tuple[Dim, ...] = get_args(Dim)
OUTPUT_DIMS: tuple[Dim, ...] = ("g", "n", "p", "q", "o")
REDUCED_DIMS: tuple[Dim, ...] = ("k", "r", "s")

PeRole: TypeAlias = Literal["reduce", "chain", "outputs"]
PE_ROLES: tuple[PeRole, ...] = get_args(PeRole)


@dataclass(frozen=True)
class Factor:
    """``factor`` iterations of ``dim`` side by side."""

    dim: Dim
    factor: int

    def __str__(self) -> str:
        return f"{self.dim} {self.factor}"


@dataclass(frozen=True)
class PeFactor:
    """How a factor of the nine PEs is used: one integer reduction, a chain of fp32 partials, or outputs."""

    role: PeRole
    dim: Dim
    factor: int

    def __str__(self) -> str:
        return f"{self.role} {self.dim} {self.factor}"


@dataclass(frozen=True)
class Mapping:
    """One mapping: spatial factors, the tile of one core's buffers, and the order of the DRAM loops.

    ``stream`` names the operand ("a" or "b") that streams; the other is held. ``cores`` splits output
    dimensions into consecutive blocks of ``tile`` extents. ``tile`` has one extent for each of ``DIMS``.
    ``order`` names the dimensions of the DRAM loops, outermost first (those with one iteration too).
    """

    stream: Literal["a", "b"]
    lane: Factor
    unit: Factor
    pes: tuple[PeFactor, ...]
    cores: tuple[Factor, ...]
    tile: tuple[int, ...]
    order: tuple[Dim, ...]

    def tile_of(self, dim: Dim) -> int:
        """The extent of ``dim`` in one core's tile."""
        return self.tile[DIMS.index(dim)]

    def core_factor(self, dim: Dim) -> int:
        """Over how many cores ``dim`` is split."""
        found = 1
        for factor in self.cores:
            if factor.dim == dim:
                found *= factor.factor
        return found

    def __str__(self) -> str:
        pes = ", ".join(str(factor) for factor in self.pes)
        cores = ", ".join(str(factor) for factor in self.cores)
        tile = ", ".join(f"{dim} {extent}" for dim, extent in zip(DIMS, self.tile, strict=True))
        order = ", ".join(self.order)
        return (
            f"stream {self.stream}, lane [{self.lane}], unit [{self.unit}], pe [{pes}], core [{cores}], "
            f"tile [{tile}], order [{order}]"
        )


def _parse_dim(parser: AttrParser) -> Dim:
    name = parser.parse_identifier()
    if name not in DIMS:
        parser.raise_error(f"expected a loop dimension, one of {', '.join(DIMS)}")
    return name


def _parse_factor(parser: AttrParser) -> Factor:
    return Factor(_parse_dim(parser), parser.parse_integer())


def _parse_pe_factor(parser: AttrParser) -> PeFactor:
    role = parser.parse_identifier()
    if role not in PE_ROLES:
        parser.raise_error(f"expected a use of PEs, one of {', '.join(PE_ROLES)}")
    return PeFactor(role, _parse_dim(parser), parser.parse_integer())


@irdl_attr_definition
class MappingAttr(Data[Mapping]):
    """``#flexblock.mapping<stream a, lane [k 12], unit [o 2], pe [...], core [...], tile [...], ...>``."""

    name = "flexblock.mapping"

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Mapping:
        square = AttrParser.Delimiter.SQUARE

        def part(keyword: str) -> None:
            parser.parse_characters(",")
            parser.parse_keyword(keyword)

        with parser.in_angle_brackets():
            parser.parse_keyword("stream")
            stream = parser.parse_identifier()
            if stream not in ("a", "b"):
                parser.raise_error("expected the streamed operand, a or b")
            part("lane")
            lane = parser.parse_comma_separated_list(square, lambda: _parse_factor(parser))
            part("unit")
            unit = parser.parse_comma_separated_list(square, lambda: _parse_factor(parser))
            part("pe")
            pes = parser.parse_comma_separated_list(square, lambda: _parse_pe_factor(parser))
            part("core")
            cores = parser.parse_comma_separated_list(square, lambda: _parse_factor(parser))
            part("tile")
            tile = parser.parse_comma_separated_list(square, lambda: _parse_factor(parser))
            part("order")
            order = parser.parse_comma_separated_list(square, lambda: _parse_dim(parser))
        if len(lane) != 1 or len(unit) != 1:
            parser.raise_error("expected one lane factor and one unit factor")
        if tuple(factor.dim for factor in tile) != DIMS:
            parser.raise_error(f"expected a tile extent for each of {', '.join(DIMS)}, in this order")
        return Mapping(
            cast(Literal["a", "b"], stream),
            lane[0],
            unit[0],
            tuple(pes),
            tuple(cores),
            tuple(factor.factor for factor in tile),
            tuple(order),
        )
