"""The ``lightnorm`` dialect: batch norm from low-precision range statistics (numerics, section 5)."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Dialect
from xdsl.irdl import (
    attr_def,
    base,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from flexc.ir import gradient_shapes, shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.tensor_op import TensorOp

_tensor = base(TensorType)


@irdl_op_definition
class InferOp(TensorOp):
    """``y = activation(bfp10(FP10A(xhat * gamma + beta)))``, xhat = FP10A((x - mean) / sqrt(var + eps)).

    The statistics are those of an imported BatchNormalization. ``activation`` names the op of the nn dialect
    that followed, without its prefix ("none" for no activation), ``activation_parameters`` its parameters in
    the order of that op's definition (clip: minimum, maximum; leaky_relu: alpha; hard_sigmoid: alpha, beta).
    """

    name = "lightnorm.infer"
    RULE = staticmethod(shapes.batch_norm)
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    beta = operand_def(_tensor)
    mean = operand_def(_tensor)
    var = operand_def(_tensor)
    eps = attr_def(base(FloatAttr))
    rounding = attr_def(StringAttr)
    activation = attr_def(StringAttr)
    activation_parameters = attr_def(base(ArrayAttr))
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma `,` $beta `,` $mean `,` $var attr-dict `:` type($x) `,` type($gamma) `,` "
        "type($beta) `,` type($mean) `,` type($var) `->` type($out)"
    )


@irdl_op_definition
class ForwardOp(TensorOp):
    """``y = bfp10(FP10A(xhat * gamma_q + beta))`` with the mean and the range of the batch.

    Results in order: y, the statistics for running averages, and what the backward pass needs: xhat, the
    positions of the chunks' maxima and minima [C, chunks], scale and gamma_q. There are
    gcd(positions, num_chunks) chunks.
    """

    name = "lightnorm.forward"
    RULE = staticmethod(gradient_shapes.lightnorm_forward)
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    beta = operand_def(_tensor)
    eps = attr_def(base(FloatAttr))
    num_chunks = attr_def(base(IntegerAttr))
    rounding = attr_def(StringAttr)
    y = result_def(_tensor)
    mean = result_def(_tensor)
    range = result_def(_tensor)
    xhat = result_def(_tensor)
    argmax = result_def(_tensor)
    argmin = result_def(_tensor)
    scale = result_def(_tensor)
    gamma_q = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma `,` $beta attr-dict `:` type($x) `,` type($gamma) `,` type($beta) `->` type($y) `,` "
        "type($mean) `,` type($range) `,` type($xhat) `,` type($argmax) `,` type($argmin) `,` "
        "type($scale) `,` type($gamma_q)"
    )


@irdl_op_definition
class StatisticsOp(TensorOp):
    """The statistics of a batch alone: the first half of a ``lightnorm.forward``, and gamma in ten bits.

    Rides on the write-back of the contraction that makes x.
    """

    name = "lightnorm.statistics"
    RULE = staticmethod(gradient_shapes.lightnorm_statistics)
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    eps = attr_def(base(FloatAttr))
    num_chunks = attr_def(base(IntegerAttr))
    rounding = attr_def(StringAttr)
    mean = result_def(_tensor)
    range = result_def(_tensor)
    argmax = result_def(_tensor)
    argmin = result_def(_tensor)
    scale = result_def(_tensor)
    gamma_q = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma attr-dict `:` type($x) `,` type($gamma) `->` type($mean) `,` type($range) `,` "
        "type($argmax) `,` type($argmin) `,` type($scale) `,` type($gamma_q)"
    )


@irdl_op_definition
class NormalizeOp(TensorOp):
    """y and xhat of a ``lightnorm.forward`` whose statistics are there: its second half."""

    name = "lightnorm.normalize"
    RULE = staticmethod(gradient_shapes.lightnorm_normalize)
    x = operand_def(_tensor)
    mean = operand_def(_tensor)
    scale = operand_def(_tensor)
    gamma_q = operand_def(_tensor)
    beta = operand_def(_tensor)
    rounding = attr_def(StringAttr)
    y = result_def(_tensor)
    xhat = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $mean `,` $scale `,` $gamma_q `,` $beta attr-dict `:` type($x) `,` type($mean) `,` "
        "type($scale) `,` type($gamma_q) `,` type($beta) `->` type($y) `,` type($xhat)"
    )


@irdl_op_definition
class BackwardOp(TensorOp):
    """``dx = bfp10(FP10B(scale * gamma_q * (h - mean of h - b * (1 at maxima - 1 at minima))))``."""

    name = "lightnorm.backward"
    RULE = staticmethod(gradient_shapes.lightnorm_backward)
    g = operand_def(_tensor)
    xhat = operand_def(_tensor)
    argmax = operand_def(_tensor)
    argmin = operand_def(_tensor)
    scale = operand_def(_tensor)
    gamma_q = operand_def(_tensor)
    rounding = attr_def(StringAttr)
    dx = result_def(_tensor)
    dgamma = result_def(_tensor)
    dbeta = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$g `,` $xhat `,` $argmax `,` $argmin `,` $scale `,` $gamma_q attr-dict `:` type($g) `,` type($xhat) "
        "`,` type($argmax) `,` type($argmin) `,` type($scale) `,` type($gamma_q) `->` type($dx) `,` "
        "type($dgamma) `,` type($dbeta)"
    )


LIGHTNORM = Dialect("lightnorm", [InferOp, ForwardOp, StatisticsOp, NormalizeOp, BackwardOp], [])
