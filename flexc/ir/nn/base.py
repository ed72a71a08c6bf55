"""What ops of the ``nn`` dialect share: constraints, forms of assembly, and constants."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, StringAttr, TensorType
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    base,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from flexc.ir import shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.tensor_op import TensorOp, TypeRule

TENSOR = base(TensorType)
INTEGERS = base(DenseArrayBase)
INTEGER = base(IntegerAttr)
REAL = base(FloatAttr)
STRING = base(StringAttr)


class UnaryOp(TensorOp):
    """An elementwise op of one operand; operand and result have one type."""

    RULE: ClassVar[TypeRule] = staticmethod(shapes.elementwise)
    x = operand_def(TENSOR)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


class BinaryOp(TensorOp):
    """An elementwise op of two operands that broadcast as NumPy's do."""

    RULE: ClassVar[TypeRule] = staticmethod(shapes.arithmetic)
    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($out)"


class ReduceOp(TensorOp):
    """A reduction over ``axes``: lane sums over the reduced positions in row-major order."""

    RULE: ClassVar[TypeRule] = staticmethod(shapes.reduction)
    x = operand_def(TENSOR)
    axes = attr_def(INTEGERS)
    keepdims = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """The tensor that the weight store holds under ``key``."""

    name = "nn.constant"
    key = attr_def(StringAttr)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$key attr-dict `:` type($out)"
