"""Convolution and matrix product in the ``nn`` dialect."""

from __future__ import annotations

from xdsl.irdl import (
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    opt_operand_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from flexc.ir import shapes, window_shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import INTEGER, INTEGERS, TENSOR
from flexc.ir.tensor_op import TensorOp


@irdl_op_definition
class ConvOp(TensorOp):
    """``y[n,o,p] = sum x[n,c,p*stride+r*dilation-pad] * w[o,c,r] + bias[o]``.

    x [N, C, spatial...], w [O, C/group, kernel...], bias [O].
    """

    name = "nn.conv"
    RULE = staticmethod(window_shapes.conv)
    x = operand_def(TENSOR)
    w = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    group = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $w (`bias` $bias^)? attr-dict `:` type($x) `,` type($w) (`,` type($bias)^)? `->` type($out)"
    )


@irdl_op_definition
class MatMulOp(TensorOp):
    """``y[...,m,n] = sum a[...,m,k] * b[...,k,n] + bias[n]``; leading dimensions broadcast."""

    name = "nn.matmul"
    RULE = staticmethod(shapes.matmul)
    a = operand_def(TENSOR)
    b = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$a `,` $b (`bias` $bias^)? attr-dict `:` type($a) `,` type($b) (`,` type($bias)^)? `->` type($out)"
    )
