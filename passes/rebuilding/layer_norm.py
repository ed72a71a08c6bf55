"""Layer norms that were exported as two means and the ops between them.

    %m = nn.reduce_mean %x {axes = the last ones, keepdims}
    %d = nn.sub %x, %m
    %v = nn.reduce_mean (%d * %d) {the same axes}
    %n = nn.div %d, sqrt(%v + eps)
    %y = nn.add (nn.mul %n, %gamma), %beta       ->  %y = nn.layer_norm %x, %gamma beta %beta {axis, eps}

The quotient may be a product with the reciprocal, the root a power, the square a power; beta may be missing,
gamma may not. Means over other axes (the channels of an image tensor), gamma of another shape, an eps that is
no constant and a value used elsewhere make it something else.
"""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import integer, real
from flexc.ir.program import Graph
from flexc.passes.building import constant_scalar, insert_before, only_user, replace, shape_of
from flexc.passes.polynomials import close


def rebuild_layer_norm(op: nn.SubOp, graph: Graph) -> bool:
    """Makes the chain whose difference from the mean is ``op`` a ``nn.layer_norm``, if it is one."""
    axis = _mean_axis(op.rhs, of=op.lhs)
    quotient = None if axis is None else _quotient(op.out)
    if axis is None or quotient is None:
        return False
    normalized, spread, inverted = quotient
    variance_and_eps = _under_root(graph, spread, inverted)
    eps = None if variance_and_eps is None else _eps_of(graph, variance_and_eps, op.out, axis)
    scaled = only_user(normalized)
    if eps is None or not isinstance(scaled, nn.MulOp):
        return False
    gamma = _parameter(scaled, normalized, shape_of(op.lhs)[axis:])
    if gamma is None:
        return False
    _replace(scaled, op.lhs, gamma, axis, eps)
    return True


def _replace(scaled: nn.MulOp, x: SSAValue, gamma: SSAValue, axis: int, eps: float) -> None:
    root: nn.BinaryOp = scaled
    parameters = [gamma]
    follower = only_user(scaled.out)
    if isinstance(follower, nn.AddOp):
        beta = _parameter(follower, scaled.out, shape_of(x)[axis:])
        if beta is not None:
            root = follower
            parameters.append(beta)
    operands = (x, *(_of_shape(root, one, shape_of(x)[axis:]) for one in parameters))
    attributes = {"axis": integer(axis), "eps": real(eps)}
    replace(root, insert_before(root, nn.LayerNormOp, operands, root.out.type, attributes).out)


def _mean_axis(value: SSAValue, of: SSAValue) -> int | None:
    """The first of the axes of a kept-dims mean of ``of`` over all of its last axes, if ``value`` is that."""
    mean = value.owner
    if not isinstance(mean, nn.ReduceMeanOp) or mean.x is not of or not mean.keepdims.value.data:
        return None
    axes = sorted(int(axis) for axis in mean.axes.get_values())
    rank = len(shape_of(of))
    return axes[0] if axes and axes == list(range(axes[0], rank)) else None


def _quotient(difference: SSAValue) -> tuple[SSAValue, SSAValue, bool] | None:
    """The normalized value, what it was divided by, and whether it was multiplied instead.

    The difference must have no uses but this one and the square.
    """
    users = {use.operation for use in difference.uses}
    squares = {user for user in users if _is_square_of(user, difference)}
    rest = users - squares
    if len(squares) != 1 or len(rest) != 1:
        return None
    (user,) = rest
    match user:
        case nn.DivOp() if user.lhs is difference:
            return user.out, user.rhs, False
        case nn.MulOp():
            return user.out, user.rhs if user.lhs is difference else user.lhs, True
        case _:
            return None


def _is_square_of(op: Operation, value: SSAValue) -> bool:
    match op:
        case nn.MulOp():
            return op.lhs is value and op.rhs is value
        case nn.PowOp():
            return op.lhs is value
        case _:
            return False


def _under_root(graph: Graph, spread: SSAValue, inverted: bool) -> SSAValue | None:
    """v where ``spread`` is sqrt(v), or 1/sqrt(v) if ``inverted``; nothing else may use what is between."""
    if not spread.has_one_use():
        return None
    op = spread.owner
    match op:
        case nn.PowOp():
            exponent = constant_scalar(graph, op.rhs)
            return op.lhs if exponent == (-0.5 if inverted else 0.5) else None
        case nn.SqrtOp() if not inverted:
            return op.x
        case nn.ReciprocalOp() if inverted:
            return _under_root(graph, op.x, inverted=False)
        case nn.DivOp() if inverted and constant_scalar(graph, op.lhs) == 1.0:
            return _under_root(graph, op.rhs, inverted=False)
        case _:
            return None


def _eps_of(graph: Graph, value: SSAValue, difference: SSAValue, axis: int) -> float | None:
    """eps where ``value`` is the mean of the squares of ``difference`` plus the constant eps."""
    total = value.owner
    if not isinstance(total, nn.AddOp) or not value.has_one_use():
        return None
    for variance, constant in ((total.lhs, total.rhs), (total.rhs, total.lhs)):
        mean = variance.owner
        eps = constant_scalar(graph, constant)
        if eps is None or not isinstance(mean, nn.ReduceMeanOp) or not variance.has_one_use():
            continue
        square = mean.x.owner
        if (
            _mean_axis(variance, of=mean.x) == axis
            and mean.x.has_one_use()
            and isinstance(square, Operation)
            and _is_square_of(square, difference)
            and _is_by_two(graph, square)
        ):
            return eps
    return None


def _is_by_two(graph: Graph, square: Operation) -> bool:
    if not isinstance(square, nn.PowOp):
        return True
    exponent = constant_scalar(graph, square.rhs)
    return exponent is not None and close(exponent, 2.0)


def _parameter(op: nn.BinaryOp, value: SSAValue, shape: tuple[int, ...]) -> SSAValue | None:
    """The constant operand beside ``value``, if it varies over the normalized axes as ``shape`` says."""
    other = op.rhs if op.lhs is value else op.lhs
    found = shape_of(other)
    leading = len(found) - len(shape)
    if (
        not nn.is_constant(other)
        or leading < 0
        or found[leading:] != shape
        or any(n != 1 for n in found[:leading])
    ):
        return None
    return other


def _of_shape(op: Operation, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
    if shape_of(value) == shape:
        return value
    assert isinstance(value.type, TensorType)
    shaped = TensorType(value.type.element_type, shape)
    return insert_before(op, nn.ReshapeOp, (value,), shaped, name_hint=value.name_hint).out
