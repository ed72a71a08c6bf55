"""The ``nn`` dialect: typed fp32 tensors, one op per operator, in the form canonicalization leaves them.

Names of attributes are the keyword names of the kernel in :mod:`flexc.numerics` that defines the op.
Image tensors are [N, C, spatial...]; ``pads`` holds the begins of all spatial dimensions, then the ends.
"""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Dialect, Operation, SSAValue
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
    var_operand_def,
)
from xdsl.traits import Pure

from flexc.ir.attributes import SourceAttr

_tensor = base(TensorType)
_integers = base(DenseArrayBase)
_integer = base(IntegerAttr)
_real = base(FloatAttr)
_string = base(StringAttr)


class UnaryOp(IRDLOperation):
    """An elementwise op of one operand; operand and result have one type."""

    x = operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


class BinaryOp(IRDLOperation):
    """An elementwise op of two operands that broadcast as NumPy's do."""

    lhs = operand_def(_tensor)
    rhs = operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($out)"


class ReduceOp(IRDLOperation):
    """A reduction over ``axes``: lane sums over the reduced positions in row-major order."""

    x = operand_def(_tensor)
    axes = attr_def(_integers)
    keepdims = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """The tensor that the weight store holds under ``key``."""

    name = "nn.constant"
    key = attr_def(StringAttr)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$key attr-dict `:` type($out)"


@irdl_op_definition
class ConvOp(IRDLOperation):
    """``y[n,o,p] = sum x[n,c,p*stride+r*dilation-pad] * w[o,c,r] + bias[o]``, x [N,C,...], w [O,C/group,...]."""

    name = "nn.conv"
    x = operand_def(_tensor)
    w = operand_def(_tensor)
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
    """``y[...,m,n] = sum a[...,m,k] * b[...,k,n] + bias[n]``; leading dimensions broadcast."""

    name = "nn.matmul"
    a = operand_def(_tensor)
    b = operand_def(_tensor)
    bias = opt_operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$a `,` $b (`bias` $bias^)? attr-dict `:` type($a) `,` type($b) (`,` type($bias)^)? `->` type($out)"
    )


@irdl_op_definition
class BatchNormOp(IRDLOperation):
    """``y = (x - mean) / sqrt(var + eps) * gamma + beta`` over dimension 1, in fp32."""

    name = "nn.batch_norm"
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    beta = operand_def(_tensor)
    mean = operand_def(_tensor)
    var = operand_def(_tensor)
    eps = attr_def(_real)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma `,` $beta `,` $mean `,` $var attr-dict `:` type($x) `,` type($gamma) `,` type($beta) `,` "
        "type($mean) `,` type($var) `->` type($out)"
    )


@irdl_op_definition
class LayerNormOp(IRDLOperation):
    """``y = (x - mean) / sqrt(var + eps) * gamma + beta`` over the dimensions from ``axis`` on."""

    name = "nn.layer_norm"
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    beta = opt_operand_def(_tensor)
    axis = attr_def(_integer)
    eps = attr_def(_real)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma (`beta` $beta^)? attr-dict `:` type($x) `,` type($gamma) (`,` type($beta)^)? "
        "`->` type($out)"
    )


@irdl_op_definition
class ReluOp(UnaryOp):
    """``x if x > 0 else +0``."""

    name = "nn.relu"


@irdl_op_definition
class SigmoidOp(UnaryOp):
    """``1 / (1 + exp(-x))``."""

    name = "nn.sigmoid"


@irdl_op_definition
class TanhOp(UnaryOp):
    """``tanh(x)``."""

    name = "nn.tanh"


@irdl_op_definition
class ErfOp(UnaryOp):
    """``erf(x)``."""

    name = "nn.erf"


@irdl_op_definition
class SqrtOp(UnaryOp):
    """``sqrt(x)``, correctly rounded."""

    name = "nn.sqrt"


@irdl_op_definition
class ExpOp(UnaryOp):
    """``exp(x)``."""

    name = "nn.exp"


@irdl_op_definition
class LogOp(UnaryOp):
    """``log(x)``."""

    name = "nn.log"


@irdl_op_definition
class NegOp(UnaryOp):
    """``-x``."""

    name = "nn.neg"


@irdl_op_definition
class AbsOp(UnaryOp):
    """``|x|``."""

    name = "nn.abs"


@irdl_op_definition
class ReciprocalOp(UnaryOp):
    """``1 / x``."""

    name = "nn.reciprocal"


@irdl_op_definition
class FloorOp(UnaryOp):
    """``floor(x)``."""

    name = "nn.floor"


@irdl_op_definition
class HardSwishOp(UnaryOp):
    """``x * clip(x / 6 + 1/2, 0, 1)``."""

    name = "nn.hard_swish"


@irdl_op_definition
class ClipOp(UnaryOp):
    """``x`` limited to [minimum, maximum]."""

    name = "nn.clip"
    minimum = attr_def(_real)
    maximum = attr_def(_real)


@irdl_op_definition
class LeakyReluOp(UnaryOp):
    """``x if x > 0 else alpha * x``."""

    name = "nn.leaky_relu"
    alpha = attr_def(_real)


@irdl_op_definition
class HardSigmoidOp(UnaryOp):
    """``clip(alpha * x + beta, 0, 1)``."""

    name = "nn.hard_sigmoid"
    alpha = attr_def(_real)
    beta = attr_def(_real)


@irdl_op_definition
class GeluOp(UnaryOp):
    """``x * (1 + erf(x / sqrt 2)) / 2``, or its tanh form (``approximate`` is "none" or "tanh")."""

    name = "nn.gelu"
    approximate = attr_def(_string)


@irdl_op_definition
class CastOp(UnaryOp):
    """``x`` in the element type of the result."""

    name = "nn.cast"


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """``exp(x - max) / sum`` along ``axis``."""

    name = "nn.softmax"
    axis = attr_def(_integer)


@irdl_op_definition
class LogSoftmaxOp(UnaryOp):
    """``x - max - log(sum of exp(x - max))`` along ``axis``."""

    name = "nn.log_softmax"
    axis = attr_def(_integer)


@irdl_op_definition
class AddOp(BinaryOp):
    """``lhs + rhs``."""

    name = "nn.add"


@irdl_op_definition
class SubOp(BinaryOp):
    """``lhs - rhs``."""

    name = "nn.sub"


@irdl_op_definition
class MulOp(BinaryOp):
    """``lhs * rhs``."""

    name = "nn.mul"


@irdl_op_definition
class DivOp(BinaryOp):
    """``lhs / rhs``."""

    name = "nn.div"


@irdl_op_definition
class PowOp(BinaryOp):
    """``lhs ** rhs``."""

    name = "nn.pow"


@irdl_op_definition
class MinimumOp(BinaryOp):
    """``lhs if lhs < rhs else rhs``."""

    name = "nn.minimum"


@irdl_op_definition
class MaximumOp(BinaryOp):
    """``lhs if lhs > rhs else rhs``."""

    name = "nn.maximum"


@irdl_op_definition
class EqualOp(BinaryOp):
    """``lhs == rhs``, as i1."""

    name = "nn.equal"


@irdl_op_definition
class LessOp(BinaryOp):
    """``lhs < rhs``, as i1."""

    name = "nn.less"


@irdl_op_definition
class GreaterOp(BinaryOp):
    """``lhs > rhs``, as i1."""

    name = "nn.greater"


@irdl_op_definition
class WhereOp(IRDLOperation):
    """``on_true where condition else on_false``, broadcast."""

    name = "nn.where"
    condition = operand_def(_tensor)
    on_true = operand_def(_tensor)
    on_false = operand_def(_tensor)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$condition `,` $on_true `,` $on_false attr-dict `:` type($condition) `,` type($on_true) `,` "
        "type($on_false) `->` type($out)"
    )


@irdl_op_definition
class ReduceMeanOp(ReduceOp):
    """Lane sum divided by the count."""

    name = "nn.reduce_mean"


@irdl_op_definition
class ReduceSumOp(ReduceOp):
    """Lane sum."""

    name = "nn.reduce_sum"


@irdl_op_definition
class ReduceMaxOp(ReduceOp):
    """Largest value."""

    name = "nn.reduce_max"


class PoolOp(UnaryOp):
    """A window over the spatial dimensions; ``ceil_mode`` rounds the output's extent up."""

    kernel = attr_def(_integers)
    stride = attr_def(_integers)
    pads = attr_def(_integers)
    dilation = attr_def(_integers)
    ceil_mode = attr_def(_integer)


@irdl_op_definition
class MaxPoolOp(PoolOp):
    """The first largest value of each window."""

    name = "nn.max_pool"


@irdl_op_definition
class AveragePoolOp(PoolOp):
    """Row-major in-window sum divided by the count (of all positions with ``count_include_pad``)."""

    name = "nn.average_pool"
    count_include_pad = attr_def(_integer)


@irdl_op_definition
class ReshapeOp(UnaryOp):
    """The elements in row-major order, in the result's shape (Flatten, Squeeze and Unsqueeze too)."""

    name = "nn.reshape"


@irdl_op_definition
class ExpandOp(UnaryOp):
    """``x`` broadcast to the result's shape."""

    name = "nn.expand"


@irdl_op_definition
class TransposeOp(UnaryOp):
    """Result dimension i is operand dimension ``permutation[i]``."""

    name = "nn.transpose"
    permutation = attr_def(_integers)


@irdl_op_definition
class SliceOp(UnaryOp):
    """``sizes[i]`` elements from ``starts[i]`` by ``steps[i]`` (which may be negative) in each dimension."""

    name = "nn.slice"
    starts = attr_def(_integers)
    sizes = attr_def(_integers)
    steps = attr_def(_integers)


@irdl_op_definition
class PadOp(UnaryOp):
    """``pads`` (begins, then ends; negative ones cut) filled by ``mode``: "constant" with value, "edge", "reflect"."""

    name = "nn.pad"
    pads = attr_def(_integers)
    mode = attr_def(_string)
    value = attr_def(_real)


@irdl_op_definition
class ConcatOp(IRDLOperation):
    """The operands one after another along ``axis``."""

    name = "nn.concat"
    inputs = var_operand_def(_tensor)
    axis = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$inputs attr-dict `:` type($inputs) `->` type($out)"


@irdl_op_definition
class GatherOp(IRDLOperation):
    """``x`` at ``indices`` (negative ones count from the end) along ``axis``."""

    name = "nn.gather"
    x = operand_def(_tensor)
    indices = operand_def(_tensor)
    axis = attr_def(_integer)
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $indices attr-dict `:` type($x) `,` type($indices) `->` type($out)"


def _operations() -> list[type[Operation]]:
    return [
        member
        for member in globals().values()
        if isinstance(member, type)
        and issubclass(member, IRDLOperation)
        and getattr(member, "name", "").startswith("nn.")
    ]


def is_constant(value: SSAValue) -> bool:
    """Whether ``value`` is a tensor of the weight store."""
    return isinstance(value.owner, ConstantOp)


NN = Dialect("nn", _operations(), [SourceAttr])
