"""Ops of the ``nn`` dialect that look at one element of each operand at a time."""

from __future__ import annotations

from xdsl.irdl import attr_def, irdl_op_definition, operand_def, opt_attr_def, result_def, traits_def
from xdsl.traits import Pure

from flexc.ir import shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import REAL, STRING, TENSOR, BinaryOp, UnaryOp
from flexc.ir.tensor_op import TensorOp, spec_of


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
    minimum = attr_def(REAL)
    maximum = attr_def(REAL)


@irdl_op_definition
class LeakyReluOp(UnaryOp):
    """``x if x > 0 else alpha * x``."""

    name = "nn.leaky_relu"
    alpha = attr_def(REAL)


@irdl_op_definition
class HardSigmoidOp(UnaryOp):
    """``clip(alpha * x + beta, 0, 1)``."""

    name = "nn.hard_sigmoid"
    alpha = attr_def(REAL)
    beta = attr_def(REAL)


@irdl_op_definition
class GeluOp(UnaryOp):
    """``x * (1 + erf(x / sqrt 2)) / 2``, or its tanh form (``approximate`` is "none" or "tanh")."""

    name = "nn.gelu"
    approximate = attr_def(STRING)


@irdl_op_definition
class CastOp(UnaryOp):
    """``x`` in the element type of the result."""

    name = "nn.cast"
    RULE = staticmethod(shapes.cast_to)

    def result_keywords(self) -> dict[str, object]:
        return {"to": spec_of(self.out.type).element}


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
    RULE = staticmethod(shapes.power)


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
    RULE = staticmethod(shapes.comparison)


@irdl_op_definition
class LessOp(BinaryOp):
    """``lhs < rhs``, as i1."""

    name = "nn.less"
    RULE = staticmethod(shapes.comparison)


@irdl_op_definition
class GreaterOp(BinaryOp):
    """``lhs > rhs``, as i1."""

    name = "nn.greater"
    RULE = staticmethod(shapes.comparison)


@irdl_op_definition
class WhereOp(TensorOp):
    """``on_true where condition else on_false``, broadcast."""

    name = "nn.where"
    RULE = staticmethod(shapes.where)
    condition = operand_def(TENSOR)
    on_true = operand_def(TENSOR)
    on_false = operand_def(TENSOR)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$condition `,` $on_true `,` $on_false attr-dict `:` type($condition) `,` type($on_true) `,` "
        "type($on_false) `->` type($out)"
    )
