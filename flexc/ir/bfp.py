"""The ``bfp`` dialect: block-floating-point tensors, their conversions and the contractions on them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    opt_operand_def,
    param_def,
    result_def,
    traits_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import Pure

from flexc.ir.attributes import SourceAttr
from flexc.numerics.block_float import BlockFormat, Sign


@irdl_attr_definition
class BlockTensorType(ParametrizedAttribute, TypeAttribute):
    """``!bfp.tensor<2x64x56x56, m4, tile [1, 216, 1, 1]>``: mantissa bits, and the box that shares an exponent.

    ``, separate`` follows where the sign is not one of the mantissa bits (numerics, section 1).
    """

    name = "bfp.tensor"
    shape: ArrayAttr[IntAttr] = param_def()
    mantissa_bits: IntAttr = param_def()
    tile: ArrayAttr[IntAttr] = param_def()
    sign: StringAttr = param_def()

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
            sign = Sign(parser.parse_identifier()) if parser.parse_optional_characters(",") else Sign.INCLUDED
        return block_tensor(shape, int(keyword[1:]), tile, sign).parameters


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


_tensor = base(TensorType)
_block = base(BlockTensorType)
_integers = base(DenseArrayBase)
_integer = base(IntegerAttr)


@irdl_op_definition
class QuantizeOp(IRDLOperation):
    """``q = round(x / 2^(E - bias - p + 1))`` in groups of the result type's tile (numerics, section 1).

    ``seed`` and ``stream`` number the random bits of stochastic rounding.
    """

    name = "bfp.quantize"
    x = operand_def(_tensor)
    rounding = attr_def(StringAttr)
    seed = attr_def(_integer)
    stream = attr_def(_integer)
    out = result_def(_block)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


@irdl_op_definition
class DequantizeOp(IRDLOperation):
    """``q * 2^(E - bias - p + 1)``, exact in fp32."""

    name = "bfp.dequantize"
    x = operand_def(_block)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A tensor quantized at compile time: the mantissas and exponents that the store holds under ``key``."""

    name = "bfp.constant"
    key = attr_def(StringAttr)
    out = result_def(_block)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$key attr-dict `:` type($out)"


@irdl_op_definition
class ConvOp(IRDLOperation):
    """Convolution of quantized operands, summed segment by segment (numerics, section 2); bias last, in fp32."""

    name = "bfp.conv"
    x = operand_def(_block)
    w = operand_def(_block)
    bias = opt_operand_def(_tensor)
    stride = attr_def(_integers)
    pads = attr_def(_integers)
    dilation = attr_def(_integers)
    group = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $w (`bias` $bias^)? attr-dict `:` type($x) `,` type($w) (`,` type($bias)^)? `->` type($out)"
    )


@irdl_op_definition
class MatMulOp(IRDLOperation):
    """Matrix product of quantized operands [..., M, K] and [..., K, N] (numerics, section 2)."""

    name = "bfp.matmul"
    a = operand_def(_block)
    b = operand_def(_block)
    bias = opt_operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$a `,` $b (`bias` $bias^)? attr-dict `:` type($a) `,` type($b) (`,` type($bias)^)? `->` type($out)"
    )


BFP = Dialect("bfp", [QuantizeOp, DequantizeOp, ConstantOp, ConvOp, MatMulOp], [BlockTensorType])
