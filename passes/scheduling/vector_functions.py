"""Elementwise ops as functions of the vector unit, named as in :mod:`flexc.backends.stream.isa`."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.ir.kernel_calls import ACTIVATION_PARAMETERS


@dataclass(frozen=True)
class VectorFunction:
    """A function of the vector unit and its immediates, in the order of the instruction set."""

    name: str
    immediates: tuple[float, ...] = ()


ELEMENTWISE_FUNCTIONS: dict[type[Operation], str] = {
    nn.AbsOp: "absolute",
    nn.AddOp: "add",
    nn.CastOp: "cast",
    nn.ClipOp: "clip",
    nn.DivOp: "div",
    nn.EqualOp: "equal",
    nn.ErfOp: "erf",
    nn.ExpOp: "exp",
    nn.FloorOp: "floor",
    nn.GeluOp: "gelu",
    nn.GreaterOp: "greater",
    nn.HardSigmoidOp: "hard_sigmoid",
    nn.HardSwishOp: "hard_swish",
    nn.LeakyReluOp: "leaky_relu",
    nn.LessOp: "less",
    nn.LogOp: "log",
    nn.MaximumOp: "maximum",
    nn.MinimumOp: "minimum",
    nn.MulOp: "mul",
    nn.NegOp: "neg",
    nn.PowOp: "power",
    nn.ReciprocalOp: "reciprocal",
    nn.ReluOp: "relu",
    nn.SigmoidOp: "sigmoid",
    nn.SqrtOp: "sqrt",
    nn.SubOp: "sub",
    nn.TanhOp: "tanh",
    nn.WhereOp: "where",
}

ACCUMULATOR_FUNCTIONS = frozenset(
    op for op in ELEMENTWISE_FUNCTIONS if issubclass(op, nn.UnaryOp) and op is not nn.CastOp
)
"""Ops that may run in place on the accumulators of a contraction."""


def elementwise_function(op: Operation) -> VectorFunction | None:
    """The function that computes ``op`` elementwise; None for another kind of op."""
    name = ELEMENTWISE_FUNCTIONS.get(type(op))
    if name is None:
        return None
    if isinstance(op, nn.GeluOp) and op.approximate.data == "tanh":
        return VectorFunction("gelu_tanh")
    assert isinstance(op, IRDLOperation)
    attributes = (
        one for one in type(op).get_irdl_definition().attributes if one not in ("source", "approximate")
    )
    values = (literal(op.attributes[one]) for one in attributes)
    return VectorFunction(name, tuple(float(value) for value in values if isinstance(value, int | float)))


def activation_function(name: str, parameters: tuple[float, ...]) -> VectorFunction | None:
    """The function of a fused activation (see ``lightnorm.infer``); None for "none"."""
    if name == "none":
        return None
    assert len(parameters) == len(ACTIVATION_PARAMETERS[name])
    return VectorFunction(name, parameters)
