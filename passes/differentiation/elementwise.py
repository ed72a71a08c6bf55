"""Gradients of elementwise ops, composed of elementwise ops (numerics specification, section 4)."""

from __future__ import annotations

from math import pi, sqrt

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import literal
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.reverse import Gradients


def no_gradient(_op: object, _g: SSAValue, _to: Gradients) -> None:
    """Constant almost everywhere."""


def absolute(op: nn.AbsOp, g: SSAValue, to: Gradients) -> None:
    """g, 0 or -g by the sign of x."""
    b, zero = to.build, to.build.scalar(0)
    falling = b.op(nn.WhereOp, b.op(nn.LessOp, op.x, zero), b.op(nn.NegOp, g), zero)
    to.add(op.x, b.op(nn.WhereOp, b.op(nn.GreaterOp, op.x, zero), g, falling))


def add(op: nn.AddOp, g: SSAValue, to: Gradients) -> None:
    """g to both."""
    to.add(op.lhs, g)
    to.add(op.rhs, g)


def sub(op: nn.SubOp, g: SSAValue, to: Gradients) -> None:
    """g and -g."""
    to.add(op.lhs, g)
    if to.wants(op.rhs):
        to.add(op.rhs, to.build.op(nn.NegOp, g))


def mul(op: nn.MulOp, g: SSAValue, to: Gradients) -> None:
    """g * rhs and g * lhs."""
    if to.wants(op.lhs):
        to.add(op.lhs, to.build.op(nn.MulOp, g, op.rhs))
    if to.wants(op.rhs):
        to.add(op.rhs, to.build.op(nn.MulOp, g, op.lhs))


def div(op: nn.DivOp, g: SSAValue, to: Gradients) -> None:
    """t = g / rhs; t and -(t * y)."""
    b = to.build
    quotient = b.op(nn.DivOp, g, op.rhs)
    to.add(op.lhs, quotient)
    if to.wants(op.rhs):
        to.add(op.rhs, b.op(nn.NegOp, b.op(nn.MulOp, quotient, op.out)))


def power(op: nn.PowOp, g: SSAValue, to: Gradients) -> None:
    """(g * rhs) * lhs^(rhs - 1) and (g * y) * log(lhs)."""
    b = to.build
    if to.wants(op.lhs):
        lowered = b.op(nn.PowOp, op.lhs, b.op(nn.SubOp, op.rhs, b.scalar(1)))
        to.add(op.lhs, b.op(nn.MulOp, b.op(nn.MulOp, g, op.rhs), lowered))
    if to.wants(op.rhs):
        to.add(op.rhs, b.op(nn.MulOp, b.op(nn.MulOp, g, op.out), b.op(nn.LogOp, op.lhs)))


def maximum(op: nn.MaximumOp, g: SSAValue, to: Gradients) -> None:
    """g to the larger operand, of equal ones to the first."""
    _choose(to, to.build.op(nn.GreaterOp, op.rhs, op.lhs), op.rhs, op.lhs, g)


def minimum(op: nn.MinimumOp, g: SSAValue, to: Gradients) -> None:
    """g to the smaller operand, of equal ones to the first."""
    _choose(to, to.build.op(nn.LessOp, op.rhs, op.lhs), op.rhs, op.lhs, g)


def where(op: nn.WhereOp, g: SSAValue, to: Gradients) -> None:
    """g to the operand that was chosen."""
    _choose(to, op.condition, op.on_true, op.on_false, g)


def _choose(to: Gradients, condition: SSAValue, on_true: SSAValue, on_false: SSAValue, g: SSAValue) -> None:
    b, zero = to.build, to.build.scalar(0)
    if to.wants(on_true):
        to.add(on_true, b.op(nn.WhereOp, condition, g, zero))
    if to.wants(on_false):
        to.add(on_false, b.op(nn.WhereOp, condition, zero, g))


def relu(op: nn.ReluOp, g: SSAValue, to: Gradients) -> None:
    """g where y > 0."""
    b, zero = to.build, to.build.scalar(0)
    to.add(op.x, b.op(nn.WhereOp, b.op(nn.GreaterOp, op.out, zero), g, zero))


def leaky_relu(op: nn.LeakyReluOp, g: SSAValue, to: Gradients) -> None:
    """g where x > 0, otherwise g * alpha."""
    b = to.build
    scaled = b.op(nn.MulOp, g, b.scalar(float(op.alpha.value.data)))
    to.add(op.x, b.op(nn.WhereOp, b.op(nn.GreaterOp, op.x, b.scalar(0)), g, scaled))


def clip(op: nn.ClipOp, g: SSAValue, to: Gradients) -> None:
    """g strictly between the bounds."""
    low, high = (float(bound.value.data) for bound in (op.minimum, op.maximum))
    to.add(op.x, _inside(to.build, op.x, low, high, g))


def _inside(b: Builder, x: SSAValue, low: float, high: float, g: SSAValue) -> SSAValue:
    zero = b.scalar(0)
    below = b.op(nn.WhereOp, b.op(nn.LessOp, x, b.scalar(high)), g, zero)
    return b.op(nn.WhereOp, b.op(nn.GreaterOp, x, b.scalar(low)), below, zero)


def hard_sigmoid(op: nn.HardSigmoidOp, g: SSAValue, to: Gradients) -> None:
    """g * alpha where 0 < y < 1."""
    b = to.build
    to.add(op.x, _inside(b, op.out, 0, 1, b.op(nn.MulOp, g, b.scalar(float(op.alpha.value.data)))))


def hard_swish(op: nn.HardSwishOp, g: SSAValue, to: Gradients) -> None:
    """h = hard_sigmoid(x); g * (h + (x * 1/6 where 0 < h < 1))."""
    b = to.build
    gate = b.op(nn.HardSigmoidOp, op.x, alpha=1 / 6, beta=0.5)
    sloped = _inside(b, gate, 0, 1, b.op(nn.MulOp, op.x, b.scalar(1 / 6)))
    to.add(op.x, b.op(nn.MulOp, g, b.op(nn.AddOp, gate, sloped)))


def sigmoid(op: nn.SigmoidOp, g: SSAValue, to: Gradients) -> None:
    """g * (y * (1 - y))."""
    b = to.build
    slope = b.op(nn.MulOp, op.out, b.op(nn.SubOp, b.scalar(1), op.out))
    to.add(op.x, b.op(nn.MulOp, g, slope))


def tanh(op: nn.TanhOp, g: SSAValue, to: Gradients) -> None:
    """g * (1 - y * y)."""
    b = to.build
    slope = b.op(nn.SubOp, b.scalar(1), b.op(nn.MulOp, op.out, op.out))
    to.add(op.x, b.op(nn.MulOp, g, slope))


def exp(op: nn.ExpOp, g: SSAValue, to: Gradients) -> None:
    """g * y."""
    to.add(op.x, to.build.op(nn.MulOp, g, op.out))


def log(op: nn.LogOp, g: SSAValue, to: Gradients) -> None:
    """g / x."""
    to.add(op.x, to.build.op(nn.DivOp, g, op.x))


def negate(op: nn.NegOp, g: SSAValue, to: Gradients) -> None:
    """-g."""
    to.add(op.x, to.build.op(nn.NegOp, g))


def reciprocal(op: nn.ReciprocalOp, g: SSAValue, to: Gradients) -> None:
    """-(g * (y * y))."""
    b = to.build
    to.add(op.x, b.op(nn.NegOp, b.op(nn.MulOp, g, b.op(nn.MulOp, op.out, op.out))))


def square_root(op: nn.SqrtOp, g: SSAValue, to: Gradients) -> None:
    """g / (y + y)."""
    b = to.build
    to.add(op.x, b.op(nn.DivOp, g, b.op(nn.AddOp, op.out, op.out)))


def erf(op: nn.ErfOp, g: SSAValue, to: Gradients) -> None:
    """g * (exp(-(x * x)) * 2/sqrt(pi))."""
    b = to.build
    bell = b.op(nn.ExpOp, b.op(nn.NegOp, b.op(nn.MulOp, op.x, op.x)))
    to.add(op.x, b.op(nn.MulOp, g, b.op(nn.MulOp, bell, b.scalar(2 / sqrt(pi)))))


def gelu(op: nn.GeluOp, g: SSAValue, to: Gradients) -> None:
    """g times the derivative, of the form that ``approximate`` names."""
    slope = _gelu_slope if literal(op.approximate) == "none" else _gelu_tanh_slope
    to.add(op.x, to.build.op(nn.MulOp, g, slope(to.build, op.x)))


def _gelu_slope(b: Builder, x: SSAValue) -> SSAValue:
    """(1 + erf(x * 1/sqrt(2))) * 1/2 + x * (exp((x * x) * -1/2) * 1/sqrt(2 pi))."""
    error = b.op(nn.ErfOp, b.op(nn.MulOp, x, b.scalar(1 / sqrt(2))))
    distribution = b.op(nn.MulOp, b.op(nn.AddOp, b.scalar(1), error), b.scalar(0.5))
    bell = b.op(nn.ExpOp, b.op(nn.MulOp, b.op(nn.MulOp, x, x), b.scalar(-0.5)))
    density = b.op(nn.MulOp, bell, b.scalar(1 / sqrt(2 * pi)))
    return b.op(nn.AddOp, distribution, b.op(nn.MulOp, x, density))


def _gelu_tanh_slope(b: Builder, x: SSAValue) -> SSAValue:
    """t = tanh((x * k) * (1 + q)), k = sqrt(2/pi), q = (x * x) * 0.044715;
    (1 + t) * 1/2 + (x * (1 - t * t)) * ((1 + q * 3) * k/2)."""
    one, root = b.scalar(1), sqrt(2 / pi)
    cubic = b.op(nn.MulOp, b.op(nn.MulOp, x, x), b.scalar(0.044715))
    inner = b.op(nn.MulOp, b.op(nn.MulOp, x, b.scalar(root)), b.op(nn.AddOp, one, cubic))
    t = b.op(nn.TanhOp, inner)
    level = b.op(nn.MulOp, b.op(nn.AddOp, one, t), b.scalar(0.5))
    rising = b.op(nn.MulOp, x, b.op(nn.SubOp, one, b.op(nn.MulOp, t, t)))
    steepness = b.op(nn.AddOp, one, b.op(nn.MulOp, cubic, b.scalar(3)))
    return b.op(nn.AddOp, level, b.op(nn.MulOp, rising, b.op(nn.MulOp, steepness, b.scalar(root / 2))))
