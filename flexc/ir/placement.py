"""Where a value lives in DRAM, and which scheduled group computes it.

A value is one plane of elements, or two for a block-floating-point tensor (mantissas, then exponents). A
plane says its storage format, the bits between neighbours along each logical dimension and, once allocated,
its address. A result without a placement never leaves the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from xdsl.dialects.builtin import ArrayAttr, NoneAttr
from xdsl.ir import Attribute, Data, Operation
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

PlaneFormat: TypeAlias = Literal["f32", "m4", "m8", "m16", "e8", "fp10", "i64", "i32", "i1"]
PLANE_FORMATS: tuple[PlaneFormat, ...] = get_args(PlaneFormat)
PLANE_BITS: dict[PlaneFormat, int] = {
    "f32": 32,
    "m4": 4,
    "m8": 8,
    "m16": 16,
    "e8": 8,
    "fp10": 10,
    "i64": 64,
    "i32": 32,
    "i1": 8,
}
"""Bits of one element."""

GroupKind: TypeAlias = Literal["contraction", "elementwise", "row", "window", "movement", "convert"]
GROUP_KINDS: tuple[GroupKind, ...] = get_args(GroupKind)

PLACEMENT = "placement"
TABLE = "table"
GROUP = "schedule"
ARGUMENT_PLACEMENTS = "argument_placements"


@dataclass(frozen=True)
class Plane:
    """One array in DRAM: element ``i`` is at bit ``8 * address_bytes + sum(strides_bits * i)``.

    ``strides_bits`` has one entry a logical dimension (of the groups, for exponents). ``address_bytes`` is
    None until allocation.
    """

    format: PlaneFormat
    size_bytes: int
    strides_bits: tuple[int, ...]
    address_bytes: int | None = None

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return PLANE_BITS[self.format]

    def at(self, address_bytes: int) -> Plane:
        """The same plane at an address."""
        return replace(self, address_bytes=address_bytes)

    def __str__(self) -> str:
        at = "" if self.address_bytes is None else f" at {self.address_bytes}"
        return f"{self.format}{at} size {self.size_bytes} strides {list(self.strides_bits)}"


@dataclass(frozen=True)
class Placement:
    """The planes of one value: one, or mantissas and exponents."""

    planes: tuple[Plane, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all planes."""
        return sum(plane.size_bytes for plane in self.planes)

    def __str__(self) -> str:
        return ", ".join(str(plane) for plane in self.planes)


@dataclass(frozen=True)
class Group:
    """A number in order of execution, and what kind of tile program the group is."""

    index: int
    kind: GroupKind

    def __str__(self) -> str:
        return f"{self.index}, {self.kind}"


@irdl_attr_definition
class PlacementAttr(Data[Placement]):
    """``#flexblock.placement<m8 at 4096 size 640 strides [80, 8], e8 at 4736 size 64 strides [8, 8]>``."""

    name = "flexblock.placement"

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Placement:
        planes = parser.parse_comma_separated_list(AttrParser.Delimiter.ANGLE, lambda: _parse_plane(parser))
        if len(planes) > 2:
            parser.raise_error("expected one plane, or mantissas and exponents")
        return Placement(tuple(planes))


@irdl_attr_definition
class GroupAttr(Data[Group]):
    """``#flexblock.group<3, contraction>``."""

    name = "flexblock.group"

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Group:
        with parser.in_angle_brackets():
            index = parser.parse_integer(allow_boolean=False, allow_negative=False)
            parser.parse_characters(",")
            kind = parser.parse_identifier()
            if kind not in GROUP_KINDS:
                parser.raise_error(f"expected a kind of group, one of {', '.join(GROUP_KINDS)}")
        return Group(index, kind)


def _parse_plane(parser: AttrParser) -> Plane:
    name = parser.parse_identifier()
    if name not in PLANE_FORMATS:
        parser.raise_error(f"expected a storage format, one of {', '.join(PLANE_FORMATS)}")
    address = parser.parse_integer() if parser.parse_optional_keyword("at") else None
    parser.parse_keyword("size")
    size = parser.parse_integer()
    parser.parse_keyword("strides")
    strides = parser.parse_comma_separated_list(AttrParser.Delimiter.SQUARE, parser.parse_integer)
    return Plane(name, size, tuple(strides), address)


def group_of(op: Operation) -> Group | None:
    """The scheduled group of ``op``; None for constants, aliases and ops not scheduled yet."""
    found = op.attributes.get(GROUP)
    return found.data if isinstance(found, GroupAttr) else None


def placement_of(op: Operation, attribute: str = PLACEMENT) -> Placement | None:
    """Where the one result of ``op`` (or its ``table`` of constants) is in DRAM; None if it stays on chip."""
    found = op.attributes.get(attribute)
    return found.data if isinstance(found, PlacementAttr) else None


def result_placements(op: Operation) -> tuple[Placement | None, ...]:
    """Where each result of ``op`` is in DRAM; None for one that stays on chip."""
    found = op.attributes.get(PLACEMENT)
    if not isinstance(found, ArrayAttr):
        return (placement_of(op),) if op.results else ()
    return tuple(one.data if isinstance(one, PlacementAttr) else None for one in found)


def set_result_placements(op: Operation, placements: Sequence[Placement | None]) -> bool:
    """Says where each result of ``op`` is in DRAM; whether that changed anything.

    The attribute is an array only for an op of several results.
    """
    attributes = [None if one is None else PlacementAttr(one) for one in placements]
    if len(attributes) == 1:
        return set_attribute(op, PLACEMENT, attributes[0])
    if not any(attributes):
        return set_attribute(op, PLACEMENT, None)
    return set_attribute(op, PLACEMENT, ArrayAttr([NoneAttr() if one is None else one for one in attributes]))


def set_attribute(op: Operation, name: str, value: Attribute | None) -> bool:
    """Sets an attribute of ``op`` (removes it for None); whether that changed it."""
    changed = op.attributes.get(name) != value
    if value is None:
        op.attributes.pop(name, None)
    else:
        op.attributes[name] = value
    return changed


def placement_array(placements: tuple[Placement, ...]) -> ArrayAttr[Attribute]:
    """The attribute :func:`placements_in` reads."""
    return ArrayAttr([PlacementAttr(placement) for placement in placements])


def placements_in(attribute: Attribute | None) -> tuple[Placement, ...]:
    """The placements of an array attribute (none for a missing one)."""
    if not isinstance(attribute, ArrayAttr):
        return ()
    return tuple(one.data for one in attribute if isinstance(one, PlacementAttr))
