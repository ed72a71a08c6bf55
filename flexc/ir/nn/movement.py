"""Ops of the ``nn`` dialect that move elements without computing."""

from __future__ import annotations

from xdsl.irdl import (
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from flexc.ir import shapes
from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import INTEGER, INTEGERS, REAL, STRING, TENSOR, UnaryOp
from flexc.ir.tensor_op import TensorOp, spec_of


@irdl_op_definition
class ReshapeOp(UnaryOp):
    """The elements in row-major order, in the result's shape (Flatten, Squeeze and Unsqueeze too)."""

    name = "nn.reshape"
    RULE = staticmethod(shapes.reshape)

    def result_keywords(self) -> dict[str, object]:
        return {"shape": spec_of(self.out.type).shape}


@irdl_op_definition
class ExpandOp(UnaryOp):
    """``x`` broadcast to the result's shape."""

    name = "nn.expand"
    RULE = staticmethod(shapes.expand)

    def result_keywords(self) -> dict[str, object]:
        return {"shape": spec_of(self.out.type).shape}


@irdl_op_definition
class TransposeOp(UnaryOp):
    """Result dimension i is operand dimension ``permutation[i]``."""

    name = "nn.transpose"
    RULE = staticmethod(shapes.transpose)
    permutation = attr_def(INTEGERS)


@irdl_op_definition
class SliceOp(UnaryOp):
    """``sizes[i]`` elements from ``starts[i]`` by ``steps[i]`` (which may be negative) in each dimension."""

    name = "nn.slice"
    RULE = staticmethod(shapes.strided_slice)
    starts = attr_def(INTEGERS)
    sizes = attr_def(INTEGERS)
    steps = attr_def(INTEGERS)


@irdl_op_definition
class PadOp(UnaryOp):
    """``pads`` (begins, then ends; negative ones cut) filled by ``mode``: "constant", "edge" or "reflect"."""

    name = "nn.pad"
    RULE = staticmethod(shapes.pad)
    pads = attr_def(INTEGERS)
    mode = attr_def(STRING)
    value = attr_def(REAL)


@irdl_op_definition
class ConcatOp(TensorOp):
    """The operands one after another along ``axis``."""

    name = "nn.concat"
    RULE = staticmethod(shapes.concat)
    inputs = var_operand_def(TENSOR)
    axis = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$inputs attr-dict `:` type($inputs) `->` type($out)"


@irdl_op_definition
class GatherOp(TensorOp):
    """``x`` at ``indices`` (negative ones count from the end) along ``axis``."""

    name = "nn.gather"
    RULE = staticmethod(shapes.gather)
    x = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    axis = attr_def(INTEGER)
    out = result_def(TENSOR)
    source = opt_attr_def(SourceAttr)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $indices attr-dict `:` type($x) `,` type($indices) `->` type($out)"
