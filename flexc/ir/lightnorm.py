"""The ``lightnorm`` dialect: batch norm from low-precision range statistics (numerics, section 5)."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, StringAttr, TensorType
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

from flexc.ir import shapes
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


LIGHTNORM = Dialect("lightnorm", [InferOp], [])
