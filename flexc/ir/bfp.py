"""The ``bfp`` dialect: block-floating-point tensors, their conversions and the contractions on them."""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Dialect
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    base,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    opt_operand_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from flexc.ir import gradient_shapes, shapes, window_shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.block_type import BlockTensorType, block_tensor
from flexc.ir.tensor_op import TensorOp, spec_of

__all__ = [
    "BFP",
    "BlockTensorType",
    "ConstantOp",
    "ConvLocalGradOp",
    "ConvOp",
    "ConvWeightGradOp",
    "DequantizeOp",
    "MatMulOp",
    "QuantizeOp",
    "block_tensor",
]

OF_RESULT = "of_result"
"""Attribute of a quantize op that makes no operand, but the form that a contraction's result is stored in."""
_tensor = base(TensorType)
_block = base(BlockTensorType)
_integers = base(DenseArrayBase)
_integer = base(IntegerAttr)


@irdl_op_definition
class QuantizeOp(TensorOp):
    """``q = round(x / 2^(E - bias - p + 1))`` in groups of the result type's tile (numerics, section 1).

    ``seed`` and ``stream`` number the random bits of stochastic rounding; with a ``step``, ``stream`` is the
    number of the node, and the bits of each training step are its own.
    """

    name = "bfp.quantize"
    RULE = staticmethod(gradient_shapes.quantize)
    x = operand_def(_tensor)
    step = opt_operand_def(_tensor)
    rounding = attr_def(StringAttr)
    seed = attr_def(_integer)
    stream = attr_def(_integer)
    out = result_def(_block)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x (`step` $step^)? attr-dict `:` type($x) (`,` type($step)^)? `->` type($out)"


@irdl_op_definition
class DequantizeOp(TensorOp):
    """``q * 2^(E - bias - p + 1)``, exact in fp32."""

    name = "bfp.dequantize"
    RULE = staticmethod(shapes.elementwise)
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
class ConvOp(TensorOp):
    """Convolution of quantized operands, summed segment by segment (numerics, section 2); fp32 bias last."""

    name = "bfp.conv"
    RULE = staticmethod(window_shapes.conv)
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
class MatMulOp(TensorOp):
    """Matrix product of quantized operands [..., M, K] and [..., K, N] (numerics, section 2)."""

    name = "bfp.matmul"
    RULE = staticmethod(shapes.matmul)
    a = operand_def(_block)
    b = operand_def(_block)
    bias = opt_operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$a `,` $b (`bias` $bias^)? attr-dict `:` type($a) `,` type($b) (`,` type($bias)^)? `->` type($out)"
    )


@irdl_op_definition
class ConvLocalGradOp(TensorOp):
    """The gradient of a convolution's input from quantized operands (numerics, section 2)."""

    name = "bfp.conv_local_grad"
    RULE = staticmethod(gradient_shapes.conv_local_grad)
    g = operand_def(_block)
    w = operand_def(_block)
    stride = attr_def(_integers)
    pads = attr_def(_integers)
    dilation = attr_def(_integers)
    group = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $w attr-dict `:` type($g) `,` type($w) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"x_shape": spec_of(self.out.type).shape}


@irdl_op_definition
class ConvWeightGradOp(TensorOp):
    """The gradient of a convolution's weight from quantized operands (numerics, section 2)."""

    name = "bfp.conv_weight_grad"
    RULE = staticmethod(gradient_shapes.conv_weight_grad)
    g = operand_def(_block)
    x = operand_def(_block)
    stride = attr_def(_integers)
    pads = attr_def(_integers)
    dilation = attr_def(_integers)
    group = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $x attr-dict `:` type($g) `,` type($x) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"w_shape": spec_of(self.out.type).shape}


CONTRACTIONS = (ConvOp, MatMulOp, ConvLocalGradOp, ConvWeightGradOp)
"""Contractions of quantized operands, which the cores do."""

BFP = Dialect(
    "bfp",
    [QuantizeOp, DequantizeOp, ConstantOp, *CONTRACTIONS],
    [BlockTensorType],
)
