"""One small function for each op with a gradient, in the IR and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import FunctionType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc.ir import nn, train
from flexc.ir.program import INPUTS, OUTPUTS, Graph, name_array, parse_module
from flexc.passes.differentiation.builder import Builder, shape_of
from flexc.passes.differentiation.reverse import Gradients, depending_on, differentiate
from flexc.passes.differentiation.rules import GRADIENT_RULES

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """``build`` makes the op from a builder and operands, ``torch`` from the module torch and tensors."""

    name: str
    build: Callable[..., SSAValue]
    torch: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    low: float = -2.0
    high: float = 2.0

    def inputs(self, seed: int = 0) -> list[npt.NDArray[np.float32]]:
        """Values without ties, well apart from the points where a piecewise function bends."""
        rng = np.random.default_rng(seed)
        found = []
        for shape in self.shapes:
            size = int(np.prod(shape))
            steps = (rng.permutation(size) + rng.uniform(0.3, 0.7, size)) / size
            found.append((self.low + steps * (self.high - self.low)).reshape(shape).astype(np.float32))
        return found


def forward_of(case: Case) -> Graph:
    """A graph from x0, x1, ... to y."""
    arguments = ", ".join(f"%x{i}: tensor<{_dims(shape)}f32>" for i, shape in enumerate(case.shapes))
    graph = Graph(parse_module(f"func.func @main({arguments}) {{\n func.return\n}}"))
    block = graph.main.body.block
    end = block.last_op
    assert isinstance(end, ReturnOp)
    end.operands = [case.build(Builder(graph, end), *block.args)]
    _finish(graph, {f"x{i}": value for i, value in enumerate(block.args)}, {"y": end.operands[0]})
    return graph


def graph_of(case: Case) -> tuple[Graph, list[type]]:
    """A graph from x0, x1, ... and the gradient g to y and dx0, dx1, ...; the classes of its forward ops."""
    graph = forward_of(case)
    block = graph.main.body.block
    *forward, end = block.ops
    values, (y,) = list(block.args), end.operands
    g = block.insert_arg(y.type, len(values))
    builder = Builder(graph, end)
    gradients = Gradients(builder, depending_on(values, forward))
    differentiate({y: g}, forward, gradients, GRADIENT_RULES)
    inputs, outputs = {f"x{i}": value for i, value in enumerate(values)}, {"y": y}
    for name, value in inputs.items():
        gradient = gradients.of(value)
        if gradient is None:
            gradient = builder.expand(builder.scalar(0), shape_of(value))
        outputs[f"d{name}"] = gradient
    end.operands = list(outputs.values())
    _finish(graph, {**inputs, "g": g}, outputs)
    return graph, [type(op) for op in forward]


def _finish(graph: Graph, inputs: Mapping[str, SSAValue], outputs: Mapping[str, SSAValue]) -> None:
    types = [[value.type for value in values.values()] for values in (inputs, outputs)]
    graph.main.function_type = FunctionType.from_lists(*types)
    graph.main.attributes[INPUTS] = name_array(tuple(inputs))
    graph.main.attributes[OUTPUTS] = name_array(tuple(outputs))


def _dims(shape: tuple[int, ...]) -> str:
    return "".join(f"{extent}x" for extent in shape)


def unary(
    op: type[Any], torch: Callable[..., Any], low: float = -2.0, high: float = 2.0, **attributes: Any
) -> Case:
    """An elementwise op of one operand."""
    name = op.name.removeprefix("nn.") + "".join(f"_{value}" for value in attributes.values())
    return Case(name, lambda b, x: b.op(op, x, **attributes), torch, ((3, 4, 5),), low, high)


def binary(op: type[Any], torch: Callable[..., Any], low: float = -2.0, high: float = 2.0) -> Case:
    """An elementwise op of two operands that broadcast."""
    name = op.name.removeprefix("nn.")
    return Case(name, lambda b, x, y: b.op(op, x, y), torch, ((3, 1, 5), (4, 1)), low, high)


CONV: dict[str, Any] = {"stride": (2, 1), "pads": (1, 0, 1, 2), "dilation": (1, 2), "group": 2}
POOL: dict[str, Any] = {
    "kernel": (3, 2),
    "stride": (2, 1),
    "pads": (1, 1, 1, 1),
    "dilation": (1, 1),
    "ceil_mode": False,
}


def _conv(t: Any, x: Any, w: Any, bias: Any) -> Any:
    padded = t.nn.functional.pad(x, (0, 2, 1, 1))
    return t.nn.functional.conv2d(padded, w, bias, stride=(2, 1), dilation=(1, 2), groups=2)


def _batch_norm_of_batch(b: Builder, x: SSAValue, gamma: SSAValue, beta: SSAValue) -> SSAValue:
    return b.ops(train.BatchNormOp, x, gamma, beta, eps=1e-3)[0]


def _constant(b: Builder, *values: float) -> SSAValue:
    return b.constant(np.array(values, np.float32), "values")


CASES = (
    unary(nn.AbsOp, lambda t, x: t.abs(x)),
    unary(nn.ErfOp, lambda t, x: t.erf(x)),
    unary(nn.ExpOp, lambda t, x: t.exp(x)),
    unary(nn.FloorOp, lambda t, x: t.floor(x)),
    unary(nn.HardSwishOp, lambda t, x: t.nn.functional.hardswish(x), -5, 5),
    unary(nn.LogOp, lambda t, x: t.log(x), 0.3, 4),
    unary(nn.NegOp, lambda t, x: -x),
    unary(nn.ReciprocalOp, lambda t, x: 1 / x, 0.4, 3),
    unary(nn.ReluOp, lambda t, x: t.relu(x)),
    unary(nn.SigmoidOp, lambda t, x: t.sigmoid(x), -6, 6),
    unary(nn.SqrtOp, lambda t, x: t.sqrt(x), 0.2, 5),
    unary(nn.TanhOp, lambda t, x: t.tanh(x)),
    unary(nn.ClipOp, lambda t, x: t.clamp(x, -1.25, 0.75), minimum=-1.25, maximum=0.75),
    unary(nn.LeakyReluOp, lambda t, x: t.nn.functional.leaky_relu(x, 0.2), alpha=0.2),
    unary(nn.HardSigmoidOp, lambda t, x: t.clamp(0.3 * x + 0.4, 0, 1), -4, 4, alpha=0.3, beta=0.4),
    unary(nn.GeluOp, lambda t, x: t.nn.functional.gelu(x), -4, 4, approximate="none"),
    unary(nn.GeluOp, lambda t, x: t.nn.functional.gelu(x, approximate="tanh"), -4, 4, approximate="tanh"),
    unary(nn.SoftmaxOp, lambda t, x: t.softmax(x, 1), axis=1),
    unary(nn.LogSoftmaxOp, lambda t, x: t.log_softmax(x, -1), axis=2),
    unary(nn.ReduceSumOp, lambda t, x: x.sum((0, 2)), axes=(0, 2), keepdims=False),
    unary(nn.ReduceMeanOp, lambda t, x: x.mean(1, keepdim=True), axes=(1,), keepdims=True),
    unary(nn.ReduceMaxOp, lambda t, x: x.amax((0, 1)), axes=(0, 1), keepdims=False),
    unary(nn.TransposeOp, lambda t, x: x.permute(1, 2, 0), permutation=(1, 2, 0)),
    unary(nn.SliceOp, lambda t, x: x[1:3, [3, 1], :4:3], starts=(1, 3, 0), sizes=(2, 2, 2), steps=(1, -2, 3)),
    unary(
        nn.PadOp,
        lambda t, x: t.nn.functional.pad(x, (2, -1, -1, 1, 0, 1), value=3.0),
        pads=(0, -1, 2, 1, 1, -1),
        mode="constant",
        value=3.0,
    ),
    unary(
        nn.PadOp,
        lambda t, x: t.nn.functional.pad(x, (2, 3, 1, 0), mode="reflect"),
        pads=(0, 1, 2, 0, 0, 3),
        mode="reflect",
        value=0.0,
    ),
    unary(
        nn.PadOp,
        lambda t, x: t.nn.functional.pad(x, (2, 3, 0, 1), mode="replicate"),
        pads=(0, 0, 2, 0, 1, 3),
        mode="edge",
        value=0.0,
    ),
    binary(nn.AddOp, lambda t, x, y: x + y),
    binary(nn.SubOp, lambda t, x, y: x - y),
    binary(nn.MulOp, lambda t, x, y: x * y),
    binary(nn.DivOp, lambda t, x, y: x / y, 0.5, 3),
    binary(nn.PowOp, lambda t, x, y: x**y, 0.4, 2.5),
    binary(nn.MaximumOp, lambda t, x, y: t.maximum(x, y)),
    binary(nn.MinimumOp, lambda t, x, y: t.minimum(x, y)),
    Case(
        "where",
        lambda b, x, y: b.op(nn.WhereOp, b.op(nn.GreaterOp, x, b.scalar(0.5)), x, y),
        lambda t, x, y: t.where(x > 0.5, x, y),
        ((3, 1, 5), (4, 1)),
    ),
    Case(
        "power_of_a_constant",
        lambda b, x: b.op(nn.PowOp, x, b.scalar(3)),
        lambda t, x: x**3,
        ((3, 4),),
    ),
    Case("cast", lambda b, x: b.cast(x), lambda t, x: x.float(), ((2, 3),)),
    Case("reshape", lambda b, x: b.reshape(x, (3, 4)), lambda t, x: x.reshape(3, 4), ((2, 6),)),
    Case("expand", lambda b, x: b.expand(x, (4, 2, 3)), lambda t, x: x.expand(4, 2, 3), ((2, 1),)),
    Case(
        "concat",
        lambda b, x, y: b.op(nn.ConcatOp, x, y, x, axis=1),
        lambda t, x, y: t.cat((x, y, x), 1),
        ((2, 3), (2, 2)),
    ),
    Case(
        "gather",
        lambda b, x: b.op(nn.GatherOp, x, b.constant(np.array([[1, 3], [-1, 1]]), "indices"), axis=1),
        lambda t, x: x[:, [[1, 3], [-1, 1]]],
        ((2, 4, 3),),
    ),
    Case(
        "conv",
        lambda b, x, w, bias: b.op(nn.ConvOp, x, w, bias, **CONV),
        _conv,
        ((2, 4, 7, 6), (6, 2, 3, 2), (6,)),
    ),
    Case(
        "max_pool",
        lambda b, x: b.op(nn.MaxPoolOp, x, **POOL),
        lambda t, x: t.nn.functional.max_pool2d(x, (3, 2), (2, 1), (1, 1)),
        ((2, 3, 7, 6),),
    ),
    Case(
        "average_pool",
        lambda b, x: b.op(nn.AveragePoolOp, x, **POOL, count_include_pad=False),
        lambda t, x: t.nn.functional.avg_pool2d(x, (3, 2), (2, 1), (1, 1), count_include_pad=False),
        ((2, 3, 7, 6),),
    ),
    Case(
        "linear",
        lambda b, x, w, bias: b.op(nn.MatMulOp, x, w, bias),
        lambda t, x, w, bias: x @ w + bias,
        ((2, 3, 4), (4, 5), (5,)),
    ),
    Case(
        "matmul_of_batches",
        lambda b, x, y: b.op(nn.MatMulOp, x, y),
        lambda t, x, y: x @ y,
        ((2, 1, 3, 4), (3, 4, 2)),
    ),
    Case(
        "matmul_of_one_left",
        lambda b, x, y: b.op(nn.MatMulOp, x, y),
        lambda t, x, y: x @ y,
        ((3, 4), (2, 4, 2)),
    ),
    Case(
        "layer_norm",
        lambda b, x, gamma, beta: b.op(nn.LayerNormOp, x, gamma, beta, axis=1, eps=1e-3),
        lambda t, x, gamma, beta: t.nn.functional.layer_norm(x, (4, 5), eps=1e-3) * gamma + beta,
        ((3, 4, 5), (5,), (4, 5)),
    ),
    Case(
        "batch_norm",
        lambda b, x, gamma, beta: b.op(
            nn.BatchNormOp, x, gamma, beta, _constant(b, 0.5, -1, 2), _constant(b, 2, 1, 0.5), eps=1e-3
        ),
        lambda t, x, gamma, beta: t.nn.functional.batch_norm(
            x, t.tensor([0.5, -1, 2]).to(x), t.tensor([2, 1, 0.5]).to(x), gamma, beta, eps=1e-3
        ),
        ((2, 3, 4, 2), (3,), (3,)),
    ),
    Case(
        "batch_norm_of_batch",
        _batch_norm_of_batch,
        lambda t, x, gamma, beta: t.nn.functional.batch_norm(x, None, None, gamma, beta, True, eps=1e-3),
        ((4, 3, 4, 2), (3,), (3,)),
    ),
    Case(
        "fan_in",
        lambda b, x: b.op(nn.MulOp, b.op(nn.AddOp, x, b.op(nn.ExpOp, x)), x),
        lambda t, x: (x + t.exp(x)) * x,
        ((3, 4),),
    ),
)
