"""The type of a block-floating-point tensor."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntAttr, StringAttr
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import base, irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from flexc.numerics.block_float import BlockFormat, Sign, cut_tile


@irdl_attr_definition
class BlockTensorType(ParametrizedAttribute, TypeAttribute):
    """``!bfp.tensor<2x64x56x56, m4, tile [1, 216, 1, 1]>``: mantissa bits, the box that shares an exponent.

    ``, separate`` follows where the sign is not one of the mantissa bits (numerics, section 1).
    """

    name = "bfp.tensor"
    shape: ArrayAttr[IntAttr] = param_def()
    mantissa_bits: IntAttr = param_def()
    tile: ArrayAttr[IntAttr] = param_def()
    sign: StringAttr = param_def(base(StringAttr))

    def get_shape(self) -> tuple[int, ...]:
        """The logical shape in elements."""
        return tuple(extent.data for extent in self.shape)

    def get_tile(self) -> tuple[int, ...]:
        """Elements of one group in each dimension."""
        return tuple(extent.data for extent in self.tile)

    @property
    def format(self) -> BlockFormat:
        """The block format of every group."""
        return BlockFormat(self.mantissa_bits.data, Sign(self.sign.data))

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string("x".join(str(extent) for extent in self.get_shape()))
            printer.print_string(f", m{self.mantissa_bits.data}, tile {list(self.get_tile())}")
            if self.sign.data != Sign.INCLUDED:
                printer.print_string(f", {self.sign.data}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape = parser.parse_dimension_list()
            parser.parse_characters(",")
            keyword = parser.parse_identifier()
            if not keyword.startswith("m") or not keyword[1:].isdigit():
                parser.raise_error("expected the mantissa bits, such as m8")
            parser.parse_characters(",")
            parser.parse_keyword("tile")
            tile = parser.parse_comma_separated_list(AttrParser.Delimiter.SQUARE, parser.parse_integer)
            word = parser.parse_identifier() if parser.parse_optional_characters(",") else Sign.INCLUDED
        try:
            block_format = BlockFormat(int(keyword[1:]), Sign(word))
            cut = cut_tile(tile, tuple(shape))
        except ValueError as problem:
            parser.raise_error(str(problem))
        return block_tensor(shape, block_format.mantissa_bits, cut, block_format.sign).parameters


def block_tensor(
    shape: Sequence[int], mantissa_bits: int, tile: Sequence[int], sign: Sign = Sign.INCLUDED
) -> BlockTensorType:
    """The type of a quantized tensor; tile extents larger than their dimension are cut to it."""
    cut = [min(extent, size) for extent, size in zip(tile, shape, strict=True)]
    return BlockTensorType(
        ArrayAttr([IntAttr(size) for size in shape]),
        IntAttr(mantissa_bits),
        ArrayAttr([IntAttr(extent) for extent in cut]),
        StringAttr(str(sign)),
    )
