"""Gradients in the ``nn`` dialect that no composition of its other ops gives (numerics, section 3.8).

``g`` is the gradient of the forward op's result; attributes are those of the forward op.
"""

from __future__ import annotations

from xdsl.irdl import attr_def, irdl_op_definition, operand_def, opt_attr_def, result_def, traits_def
from xdsl.traits import Pure

from flexc.ir import gradient_shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import INTEGER, INTEGERS, TENSOR
from flexc.ir.tensor_op import TensorOp, spec_of


@irdl_op_definition
class ConvLocalGradOp(TensorOp):
    """``dx[n,c,p] = sum of g[n,o,q] * w[o,c,r]`` over the outputs q whose tap r reads p."""

    name = "nn.conv_local_grad"
    RULE = staticmethod(gradient_shapes.conv_local_grad)
    g = operand_def(TENSOR)
    w = operand_def(TENSOR)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    group = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $w attr-dict `:` type($g) `,` type($w) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"x_shape": spec_of(self.out.type).shape}


@irdl_op_definition
class ConvWeightGradOp(TensorOp):
    """``dw[o,c,r] = sum of g[n,o,q] * x[n,c,p]`` over the images n and the outputs q whose tap r reads p."""

    name = "nn.conv_weight_grad"
    RULE = staticmethod(gradient_shapes.conv_weight_grad)
    g = operand_def(TENSOR)
    x = operand_def(TENSOR)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    group = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $x attr-dict `:` type($g) `,` type($x) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"w_shape": spec_of(self.out.type).shape}


@irdl_op_definition
class MaxPoolGradOp(TensorOp):
    """Each window passes its gradient to its first maximum."""

    name = "nn.max_pool_grad"
    RULE = staticmethod(gradient_shapes.max_pool_grad)
    g = operand_def(TENSOR)
    x = operand_def(TENSOR)
    kernel = attr_def(INTEGERS)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    ceil_mode = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $x attr-dict `:` type($g) `,` type($x) `->` type($out)"


@irdl_op_definition
class AveragePoolGradOp(TensorOp):
    """Each window passes its gradient, divided by its count, to all of its elements."""

    name = "nn.average_pool_grad"
    RULE = staticmethod(gradient_shapes.average_pool_grad)
    g = operand_def(TENSOR)
    kernel = attr_def(INTEGERS)
    stride = attr_def(INTEGERS)
    pads = attr_def(INTEGERS)
    dilation = attr_def(INTEGERS)
    ceil_mode = attr_def(INTEGER)
    count_include_pad = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g attr-dict `:` type($g) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"x_shape": spec_of(self.out.type).shape}


@irdl_op_definition
class ReduceMaxGradOp(TensorOp):
    """The gradient at the first maximum, zero elsewhere."""

    name = "nn.reduce_max_grad"
    RULE = staticmethod(gradient_shapes.reduce_max_grad)
    g = operand_def(TENSOR)
    x = operand_def(TENSOR)
    axes = attr_def(INTEGERS)
    keepdims = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $x attr-dict `:` type($g) `,` type($x) `->` type($out)"


@irdl_op_definition
class GatherGradOp(TensorOp):
    """``dx[indices[i]] += g[i]`` along ``axis``, i in row-major order."""

    name = "nn.gather_grad"
    RULE = staticmethod(gradient_shapes.gather_grad)
    g = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    axis = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$g `,` $indices attr-dict `:` type($g) `,` type($indices) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"x_shape": spec_of(self.out.type).shape}
