"""How each op of the ``nn`` dialect is spelled in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from xdsl.ir import Operation

from flexc.exporter.onnx_writer import ELEMENT_TYPES, OnnxWriter
from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.tensor_op import spec_of

Spelling: TypeAlias = Callable[[Any, OnnxWriter], None]
BEFORE_THE_FIRST = np.iinfo(np.int64).min
"""An end of Slice that a negative step reaches behind element 0."""


def plain(op_type: str, **renamed: str) -> Spelling:
    """A node of the op's operands; ``renamed`` names its attributes: ONNX name = name of the op's."""

    def spell(op: Operation, to: OnnxWriter) -> None:
        attributes = {onnx_name: _attribute(op, name) for onnx_name, name in renamed.items()}
        to.node(op_type, _inputs(op, to), _output(op, to), **attributes)

    return spell


def _attribute(op: Operation, name: str) -> Any:
    value = literal(op.attributes[name])
    return int(value) if isinstance(value, bool) else value


def _inputs(op: Operation, to: OnnxWriter) -> list[str]:
    return [to.name_of(operand) for operand in op.operands]


def _output(op: Operation, to: OnnxWriter) -> str:
    return to.name_of(op.results[0])


def _matmul(op: nn.MatMulOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    product = output if op.bias is None else to.intermediate(f"{output}.product")
    to.node("MatMul", [to.name_of(op.a), to.name_of(op.b)], product)
    if op.bias is not None:
        to.node("Add", [product, to.name_of(op.bias)], output)


def _conv(op: nn.ConvOp, to: OnnxWriter) -> None:
    to.node(
        "Conv",
        _inputs(op, to),
        _output(op, to),
        kernel_shape=spec_of(op.w.type).shape[2:],
        strides=_attribute(op, "stride"),
        pads=_attribute(op, "pads"),
        dilations=_attribute(op, "dilation"),
        group=_attribute(op, "group"),
    )


def _reduce(op_type: str) -> Spelling:
    def spell(op: Operation, to: OnnxWriter) -> None:
        output = _output(op, to)
        axes = to.integers(_attribute(op, "axes"), f"{output}.axes")
        to.node(op_type, [*_inputs(op, to), axes], output, keepdims=_attribute(op, "keepdims"))

    return spell


def _clip(op: nn.ClipOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    bounds = []
    for name in ("minimum", "maximum"):
        bound = _attribute(op, name)
        bounds.append(to.scalar(bound, f"{output}.{name}") if np.isfinite(bound) else "")
    to.node("Clip", [*_inputs(op, to), *bounds], output)


def _cast(op: nn.CastOp, to: OnnxWriter) -> None:
    element = ELEMENT_TYPES[spec_of(op.out.type).element]
    to.node("Cast", _inputs(op, to), _output(op, to), to=element)


def _reshape(op: nn.ReshapeOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    shape = to.shape_constant(op.x, spec_of(op.out.type).shape, output)
    to.node("Reshape", [to.name_of(op.x), shape], output)


def _expand(op: nn.ExpandOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    shape = to.integers(spec_of(op.out.type).shape, f"{output}.shape")
    to.node("Expand", [*_inputs(op, to), shape], output)


def _slice(op: nn.SliceOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    extents = spec_of(op.x.type).shape
    taken = zip(*(_attribute(op, name) for name in ("starts", "sizes", "steps")), strict=True)
    cut = [(axis, *one) for axis, one in enumerate(taken) if one != (0, extents[axis], 1)]
    ends = [start + size * step for _, start, size, step in cut]
    lists = {
        "starts": [start for _, start, _, _ in cut],
        "ends": [end if end >= 0 else BEFORE_THE_FIRST for end in ends],
        "axes": [axis for axis, _, _, _ in cut],
        "steps": [step for _, _, _, step in cut],
    }
    operands = [to.integers(values, f"{output}.{name}") for name, values in lists.items()]
    to.node("Slice", [*_inputs(op, to), *operands], output)


def _pad(op: nn.PadOp, to: OnnxWriter) -> None:
    output = _output(op, to)
    pads = to.integers(_attribute(op, "pads"), f"{output}.pads")
    value = to.scalar(_attribute(op, "value"), f"{output}.value")
    to.node("Pad", [*_inputs(op, to), pads, value], output, mode=_attribute(op, "mode"))


_POOL = {
    "kernel_shape": "kernel",
    "strides": "stride",
    "pads": "pads",
    "dilations": "dilation",
    "ceil_mode": "ceil_mode",
}

SPELLINGS: Mapping[type[Operation], Spelling] = {
    nn.AbsOp: plain("Abs"),
    nn.AddOp: plain("Add"),
    nn.AveragePoolOp: plain("AveragePool", count_include_pad="count_include_pad", **_POOL),
    nn.BatchNormOp: plain("BatchNormalization", epsilon="eps"),
    nn.CastOp: _cast,
    nn.ClipOp: _clip,
    nn.ConcatOp: plain("Concat", axis="axis"),
    nn.ConvOp: _conv,
    nn.DivOp: plain("Div"),
    nn.EqualOp: plain("Equal"),
    nn.ErfOp: plain("Erf"),
    nn.ExpOp: plain("Exp"),
    nn.ExpandOp: _expand,
    nn.FloorOp: plain("Floor"),
    nn.GatherOp: plain("Gather", axis="axis"),
    nn.GeluOp: plain("Gelu", approximate="approximate"),
    nn.GreaterOp: plain("Greater"),
    nn.HardSigmoidOp: plain("HardSigmoid", alpha="alpha", beta="beta"),
    nn.HardSwishOp: plain("HardSwish"),
    nn.LayerNormOp: plain("LayerNormalization", axis="axis", epsilon="eps"),
    nn.LeakyReluOp: plain("LeakyRelu", alpha="alpha"),
    nn.LessOp: plain("Less"),
    nn.LogOp: plain("Log"),
    nn.LogSoftmaxOp: plain("LogSoftmax", axis="axis"),
    nn.MatMulOp: _matmul,
    nn.MaxPoolOp: plain("MaxPool", **_POOL),
    nn.MaximumOp: plain("Max"),
    nn.MinimumOp: plain("Min"),
    nn.MulOp: plain("Mul"),
    nn.NegOp: plain("Neg"),
    nn.PadOp: _pad,
    nn.PowOp: plain("Pow"),
    nn.ReciprocalOp: plain("Reciprocal"),
    nn.ReduceMaxOp: _reduce("ReduceMax"),
    nn.ReduceMeanOp: _reduce("ReduceMean"),
    nn.ReduceSumOp: _reduce("ReduceSum"),
    nn.ReluOp: plain("Relu"),
    nn.ReshapeOp: _reshape,
    nn.SigmoidOp: plain("Sigmoid"),
    nn.SliceOp: _slice,
    nn.SoftmaxOp: plain("Softmax", axis="axis"),
    nn.SqrtOp: plain("Sqrt"),
    nn.SubOp: plain("Sub"),
    nn.TanhOp: plain("Tanh"),
    nn.TransposeOp: plain("Transpose", perm="permutation"),
    nn.WhereOp: plain("Where"),
}
