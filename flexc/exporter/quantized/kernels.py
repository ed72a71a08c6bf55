"""Which function body computes which kernel, specialized to operands and keywords.

The bodies give the bits of the numerics specification. What is not here is a standard operator: those of
``STANDARD`` compute by onnxruntime's own arithmetic, which may differ in the last bits; all others move
elements, or are one IEEE operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flexc.exporter.quantized import elementwise, reductions
from flexc.exporter.quantized.blocks import quantize
from flexc.exporter.quantized.contractions import ConvGeometry, conv, matmul
from flexc.exporter.quantized.floats import choose, reciprocal
from flexc.exporter.quantized.function_body import Body, Operand
from flexc.ir import nn
from flexc.ir.shapes import Shape
from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.numerics.windows import Windows

STANDARD = (
    nn.ConvOp,
    nn.GeluOp,
    nn.MatMulOp,
    nn.PowOp,
    nn.ReduceMaxOp,
)
"""Ops that become standard operators of other bits: of ReduceMax, the sign of a zero alone."""


@dataclass(frozen=True)
class Specialization:
    """What a function is made for: its operands (None for one that is absent), keywords and result."""

    operands: tuple[Operand | None, ...]
    keywords: tuple[tuple[str, Any], ...]
    result: Shape


Inputs: TypeAlias = tuple[str | None, ...]
FunctionBuilder: TypeAlias = Callable[[Body, Inputs, Specialization], str]


@dataclass(frozen=True)
class KernelFunction:
    """The name of a kernel's function and what makes its body; ``of_any_shape``: shapes do not matter."""

    name: str
    build: FunctionBuilder
    of_any_shape: bool = False

    def key(self, made_for: Specialization) -> tuple[object, ...]:
        """What tells this function from others of the same name."""
        if self.of_any_shape:
            return self.name, "kernel", made_for.keywords
        return self.name, "kernel", made_for


def _unary(name: str, build: Callable[..., str]) -> KernelFunction:
    """A function of x and the kernel's keywords."""

    def body_of(body: Body, inputs: Inputs, made_for: Specialization) -> str:
        return build(body, _given(inputs[0]), **dict(made_for.keywords))

    return KernelFunction(name, body_of, of_any_shape=True)


def _given(name: str | None) -> str:
    assert name is not None
    return name


def _operand(made_for: Specialization, index: int) -> Operand:
    operand = made_for.operands[index]
    assert operand is not None
    return operand


def _quantize(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    keywords = dict(made_for.keywords)
    to = BlockFormat(keywords["mantissa_bits"], Sign(keywords["sign"]))
    shape = _operand(made_for, 0).shape
    return quantize(body, _given(inputs[0]), shape, keywords["tile"], to, Rounding(keywords["rounding"]))


def _conv(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    geometry = ConvGeometry(**dict(made_for.keywords))
    x, w, bias = (*inputs, None)[:3]
    operands = _operand(made_for, 0), _operand(made_for, 1)
    return conv(body, _given(x), _given(w), bias, *operands, geometry, made_for.result)


def _matmul(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    a, b, bias = (*inputs, None)[:3]
    return matmul(body, _given(a), _given(b), bias, _operand(made_for, 0), _operand(made_for, 1))


def _reduce(build: Callable[..., str]) -> FunctionBuilder:
    def body_of(body: Body, inputs: Inputs, made_for: Specialization) -> str:
        axes = dict(made_for.keywords)["axes"]
        x, shape = _given(inputs[0]), _operand(made_for, 0).shape
        return (
            body.reshape(build(body, x, shape, axes), made_for.result) if axes else body.node("Identity", x)
        )

    return body_of


def _along_axis(build: Callable[..., str]) -> FunctionBuilder:
    def body_of(body: Body, inputs: Inputs, made_for: Specialization) -> str:
        shape = _operand(made_for, 0).shape
        return build(body, _given(inputs[0]), shape, dict(made_for.keywords)["axis"])

    return body_of


def _layer_norm(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    x, gamma, beta = inputs
    shape, keywords = _operand(made_for, 0).shape, dict(made_for.keywords)
    return reductions.layer_norm(
        body, _given(x), _given(gamma), beta, shape, keywords["axis"], keywords["eps"]
    )


def _batch_norm(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    x, gamma, beta, mean, variance = map(_given, inputs)
    by_channel = [-1, *(1 for _ in made_for.result[2:])]
    eps = body.constant(dict(made_for.keywords)["eps"])
    scale = body.node("Div", gamma, body.node("Sqrt", body.node("Add", variance, eps)))
    shift = body.node("Sub", beta, body.node("Mul", mean, scale))
    y = body.node("Mul", x, body.reshape(scale, by_channel))
    return body.node("Add", y, body.reshape(shift, by_channel))


def _windows(made_for: Specialization) -> Windows:
    names = ("kernel", "stride", "pads", "dilation", "ceil_mode")
    keywords: Mapping[str, Any] = dict(made_for.keywords)
    return Windows.over(_operand(made_for, 0).shape, **{name: keywords[name] for name in names})


def _max_pool(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    return reductions.max_pool(body, _given(inputs[0]), _windows(made_for))


def _average_pool(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    include = bool(dict(made_for.keywords)["count_include_pad"])
    return reductions.average_pool(body, _given(inputs[0]), _windows(made_for), include)


def _choose(op_type: str) -> FunctionBuilder:
    """The second operand where it compares so with the first, otherwise the first."""

    def body_of(body: Body, inputs: Inputs, made_for: Specialization) -> str:
        x, y = map(_given, inputs)
        return choose(body, body.node(op_type, y, x), y, x)

    return body_of


def _where(body: Body, inputs: Inputs, made_for: Specialization) -> str:
    condition, x, y = map(_given, inputs)
    return choose(body, condition, x, y)


KERNELS: Mapping[str, KernelFunction] = {
    "average_pool": KernelFunction("AveragePool", _average_pool),
    "batch_norm": KernelFunction("BatchNorm", _batch_norm),
    "block_conv": KernelFunction("BlockConv", _conv),
    "block_matmul": KernelFunction("BlockMatMul", _matmul),
    "clip": _unary("Clip", elementwise.clip),
    "erf": _unary("Erf", elementwise.erf),
    "exp": _unary("Exp", elementwise.exp),
    "hard_sigmoid": _unary("HardSigmoid", elementwise.hard_sigmoid),
    "hard_swish": _unary("HardSwish", elementwise.hard_swish),
    "layer_norm": KernelFunction("LayerNorm", _layer_norm),
    "leaky_relu": _unary("LeakyRelu", elementwise.leaky_relu),
    "log": _unary("Log", elementwise.log),
    "log_softmax": KernelFunction("LogSoftmax", _along_axis(reductions.log_softmax)),
    "max_pool": KernelFunction("MaxPool", _max_pool),
    "maximum": KernelFunction("Maximum", _choose("Greater"), of_any_shape=True),
    "minimum": KernelFunction("Minimum", _choose("Less"), of_any_shape=True),
    "quantize": KernelFunction("Quantize", _quantize),
    "reciprocal": _unary("Reciprocal", reciprocal),
    "reduce_mean": KernelFunction("Mean", _reduce(reductions.mean)),
    "reduce_sum": KernelFunction("LaneSum", _reduce(reductions.lane_sum)),
    "relu": _unary("Relu", elementwise.relu),
    "sigmoid": _unary("Sigmoid", elementwise.sigmoid),
    "softmax": KernelFunction("Softmax", _along_axis(reductions.softmax)),
    "tanh": _unary("Tanh", elementwise.tanh),
    "where": KernelFunction("Where", _where, of_any_shape=True),
}
"""Functions by the name of the kernel."""
