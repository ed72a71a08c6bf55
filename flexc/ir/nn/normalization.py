"""Normalizations and softmax in the ``nn`` dialect."""

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

from flexc.ir import shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import INTEGER, REAL, TENSOR, UnaryOp
from flexc.ir.tensor_op import TensorOp


@irdl_op_definition
class BatchNormOp(TensorOp):
    """``y = (x - mean) / sqrt(var + eps) * gamma + beta`` over dimension 1, in fp32."""

    name = "nn.batch_norm"
    RULE = staticmethod(shapes.batch_norm)
    x = operand_def(TENSOR)
    gamma = operand_def(TENSOR)
    beta = operand_def(TENSOR)
    mean = operand_def(TENSOR)
    var = operand_def(TENSOR)
    eps = attr_def(REAL)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma `,` $beta `,` $mean `,` $var attr-dict `:` type($x) `,` type($gamma) `,` "
        "type($beta) `,` type($mean) `,` type($var) `->` type($out)"
    )


@irdl_op_definition
class LayerNormOp(TensorOp):
    """``y = (x - mean) / sqrt(var + eps) * gamma + beta`` over the dimensions from ``axis`` on."""

    name = "nn.layer_norm"
    RULE = staticmethod(shapes.layer_norm)
    x = operand_def(TENSOR)
    gamma = operand_def(TENSOR)
    beta = opt_operand_def(TENSOR)
    axis = attr_def(INTEGER)
    eps = attr_def(REAL)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma (`beta` $beta^)? attr-dict `:` type($x) `,` type($gamma) (`,` type($beta)^)? "
        "`->` type($out)"
    )


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """``exp(x - max) / sum`` along ``axis``."""

    name = "nn.softmax"
    RULE = staticmethod(shapes.along_axis)
    axis = attr_def(INTEGER)


@irdl_op_definition
class LogSoftmaxOp(UnaryOp):
    """``x - max - log(sum of exp(x - max))`` along ``axis``."""

    name = "nn.log_softmax"
    RULE = staticmethod(shapes.along_axis)
    axis = attr_def(INTEGER)
