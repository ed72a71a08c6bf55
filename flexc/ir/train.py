"""The ``train`` dialect: what only training steps hold, and which contraction of a layer an op is.

A contraction of a training step says by ``role`` which pass of which layer it is:
``#train.role<"layer1.conv1", local_grad, gradient by weight, [conv, shortcut], first>``.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntAttr, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Dialect, Operation, ParametrizedAttribute
from xdsl.irdl import (
    attr_def,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    param_def,
    result_def,
    traits_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import Pure

from flexc.ir import gradient_shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.tensor_op import TensorOp, spec_of

ROLE = "role"
RUNNING_STATISTICS = "running_statistics"
"""Attribute of a batch norm in a training step: the names of its running mean and variance."""
_tensor = base(TensorType)


@irdl_attr_definition
class RoleAttr(ParametrizedAttribute):
    """Layer, training pass and operands of a contraction, and the layer's kinds and place in the network.

    The words are those of :mod:`flexc.precision`: pass ``forward``, ``local_grad`` or ``weight_grad``;
    operands ``activation``, ``weight`` or ``gradient``.
    """

    name = "train.role"
    layer: StringAttr = param_def(base(StringAttr))
    training_pass: StringAttr = param_def(base(StringAttr))
    operands: ArrayAttr[StringAttr] = param_def()
    kinds: ArrayAttr[StringAttr] = param_def()
    first: IntAttr = param_def()
    last: IntAttr = param_def()

    @classmethod
    def of(
        cls,
        layer: str,
        training_pass: str,
        operands: Sequence[str],
        kinds: Sequence[str],
        *,
        first: bool,
        last: bool,
    ) -> RoleAttr:
        """The attribute of Python values."""
        return cls(
            StringAttr(layer),
            StringAttr(training_pass),
            ArrayAttr([StringAttr(operand) for operand in operands]),
            ArrayAttr([StringAttr(kind) for kind in kinds]),
            IntAttr(first),
            IntAttr(last),
        )

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.layer.data)
            left, right = (operand.data for operand in self.operands)
            kinds = ", ".join(kind.data for kind in self.kinds)
            printer.print_string(f", {self.training_pass.data}, {left} by {right}, [{kinds}]")
            for word, holds in (("first", self.first), ("last", self.last)):
                if holds.data:
                    printer.print_string(f", {word}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            layer = parser.parse_str_literal()
            parser.parse_characters(",")
            training_pass = parser.parse_identifier()
            parser.parse_characters(",")
            left = parser.parse_identifier()
            parser.parse_keyword("by")
            operands = [left, parser.parse_identifier()]
            parser.parse_characters(",")
            kinds = parser.parse_comma_separated_list(AttrParser.Delimiter.SQUARE, parser.parse_identifier)
            words = set()
            while parser.parse_optional_characters(","):
                words.add(parser.parse_identifier())
        first, last = "first" in words, "last" in words
        return cls.of(layer, training_pass, operands, kinds, first=first, last=last).parameters


@irdl_op_definition
class BatchNormOp(TensorOp):
    """``y = (x - mean) * scale * gamma + beta`` with the batch's mean and scale = 1 / sqrt(var + eps)."""

    name = "train.batch_norm"
    RULE = staticmethod(gradient_shapes.batch_norm)
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    beta = operand_def(_tensor)
    eps = attr_def(base(FloatAttr))
    y = result_def(_tensor)
    mean = result_def(_tensor)
    var = result_def(_tensor)
    scale = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$x `,` $gamma `,` $beta attr-dict `:` type($x) `,` type($gamma) `,` type($beta) `->` "
        "type($y) `,` type($mean) `,` type($var) `,` type($scale)"
    )


@irdl_op_definition
class BatchNormGradOp(TensorOp):
    """``dx = gamma * scale * (g - mean of g - xhat * mean of (g * xhat))``, xhat = (x - mean) * scale."""

    name = "train.batch_norm_grad"
    RULE = staticmethod(gradient_shapes.batch_norm_grad)
    g = operand_def(_tensor)
    x = operand_def(_tensor)
    gamma = operand_def(_tensor)
    mean = operand_def(_tensor)
    scale = operand_def(_tensor)
    dx = result_def(_tensor)
    dgamma = result_def(_tensor)
    dbeta = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = (
        "$g `,` $x `,` $gamma `,` $mean `,` $scale attr-dict `:` type($g) `,` type($x) `,` type($gamma) `,` "
        "type($mean) `,` type($scale) `->` type($dx) `,` type($dgamma) `,` type($dbeta)"
    )


@irdl_op_definition
class DropoutOp(TensorOp):
    """A dropout of the model: ``x`` itself, until differentiate multiplies it by a mask.

    ``number`` tells the dropouts of a model apart, from 0 up.
    """

    name = "train.dropout"
    RULE = staticmethod(gradient_shapes.dropout)
    x = operand_def(_tensor)
    ratio = attr_def(base(FloatAttr))
    number = attr_def(base(IntegerAttr))
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` type($x) `->` type($out)"


@irdl_op_definition
class DropoutMaskOp(TensorOp):
    """``1 / (1 - ratio)`` with probability 1 - ratio, otherwise 0, by random bits."""

    name = "train.dropout_mask"
    RULE = staticmethod(gradient_shapes.dropout_mask)
    step = operand_def(_tensor)
    ratio = attr_def(base(FloatAttr))
    seed = attr_def(base(IntegerAttr))
    node = attr_def(base(IntegerAttr))
    out = result_def(_tensor)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$step attr-dict `:` type($step) `->` type($out)"

    def result_keywords(self) -> dict[str, object]:
        return {"shape": spec_of(self.out.type).shape}


TRAIN = Dialect("train", [BatchNormOp, BatchNormGradOp, DropoutOp, DropoutMaskOp], [RoleAttr])


def role_of(op: Operation) -> RoleAttr | None:
    """Which contraction of a training step ``op`` is; None outside of one."""
    found = op.attributes.get(ROLE)
    return found if isinstance(found, RoleAttr) else None
