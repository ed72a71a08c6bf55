"""What the vector unit does for an op: functions and the elements of each, as the stream has them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from xdsl.ir import Operation

from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.attributes import literal
from flexc.passes.scheduling.layout import shape_of
from flexc.passes.scheduling.vector_functions import activation_function, elementwise_function

ROW_FUNCTIONS: dict[type[Operation], str] = {
    nn.BatchNormOp: "batch_norm",
    nn.LayerNormOp: "layer_norm",
    nn.SoftmaxOp: "softmax",
    nn.LogSoftmaxOp: "log_softmax",
    nn.ReduceMaxOp: "reduce_max",
    nn.ReduceMeanOp: "reduce_mean",
    nn.ReduceSumOp: "reduce_sum",
    nn.ReduceMaxGradOp: "reduce_max_grad",
}
"""Functions of every element that an op reads."""

BATCH_NORM_FORWARD = ("reduce_mean", "sub", "mul", "reduce_mean", "sub", "mul", "mul", "add")
"""An element in three passes: mean; centred square into the variance; centred, scaled, gamma, beta."""
BATCH_NORM_BACKWARD = (
    *("sub", "mul", "reduce_sum", "mul", "reduce_sum"),
    *("sub", "mul", "mul", "sub", "sub", "mul"),
)
"""An element in two passes: xhat, the sums of g and g xhat; xhat again, both shares taken off, scaled."""
LIGHTNORM_SUMS = ("mul", "window_add", "window_add")
LIGHTNORM_GRADIENT = ("sub", "mul")
LIGHTNORM_BACKWARD = (*LIGHTNORM_SUMS, *LIGHTNORM_GRADIENT)
"""Beside its unit: an element of the products and both sums; of the gradient, centred and scaled."""


def vector_work(op: Operation) -> Iterator[tuple[str, int]]:
    """Functions and elements of one op; nothing for what other engines do."""
    function = elementwise_function(op)
    if function is not None:
        yield function.name, prod(shape_of(op.results[0]))
        return
    if type(op) in ROW_FUNCTIONS:
        yield ROW_FUNCTIONS[type(op)], prod(shape_of(op.operands[0]))
        return
    match op:
        case bfp.ConvOp() | bfp.MatMulOp() if op.bias is not None:
            yield "add", prod(shape_of(op.out))
        case nn.ExpandOp():
            yield "copy", prod(shape_of(op.out))
        case nn.MaxPoolOp():
            yield "window_max", prod(shape_of(op.out)) * prod(op.kernel.get_values())
        case nn.AveragePoolOp():
            yield "window_sum", prod(shape_of(op.out)) * prod(op.kernel.get_values())
            yield "div", prod(shape_of(op.out))
        case nn.MaxPoolGradOp():
            windows, taps = prod(shape_of(op.g)), prod(op.kernel.get_values())
            yield "window_argmax", windows * taps
            yield from (("add_from_tap", windows) for _ in range(taps))
        case nn.AveragePoolGradOp():
            windows, taps = prod(shape_of(op.g)), prod(op.kernel.get_values())
            yield "div", windows
            yield from (("add", windows) for _ in range(taps))
        case nn.GatherGradOp():
            yield "add", prod(shape_of(op.g))
        case lightnorm.InferOp():
            parameters = literal(op.activation_parameters)
            assert isinstance(parameters, tuple)
            activation = activation_function(op.activation.data, tuple(float(one) for one in parameters))
            if activation is not None:
                yield activation.name, prod(shape_of(op.out))
        case lightnorm.BackwardOp():
            yield from ((name, prod(shape_of(op.g))) for name in LIGHTNORM_BACKWARD)
        case train.BatchNormOp():
            yield from ((name, prod(shape_of(op.x))) for name in BATCH_NORM_FORWARD)
        case train.BatchNormGradOp():
            yield from ((name, prod(shape_of(op.g))) for name in BATCH_NORM_BACKWARD)
        case _:
            return
