"""Batch norms that were exported as a chain of Sub, Div or Mul, Mul and Add with one constant per channel.

A chain counts if it shows all four parts: ``(x - mean) / std * gamma + beta``, with the division written as a
product with 1/std or not, before or after gamma. Shorter chains stay as they are. ``x * scale + shift`` holds
no statistics: there is nothing to say whether it was a batch norm, a layer scale or a change of units, and
LightNorm would round ``x`` itself to ten bits. ``(x - mean) * scale + shift`` mixes gamma and std likewise.

The variance is std * std and eps is 0: the square root of a rounded square is the number itself, so that no
eps need be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.traits import Pure

from flexc.ir import nn
from flexc.ir.attributes import real
from flexc.ir.program import Graph
from flexc.passes.building import constant_array, insert_before, only_user, replace, shape_of


@dataclass(frozen=True)
class _Chain:
    """The constants of a chain and its last op; ``spread`` is std, or 1/std if ``inverted``."""

    mean: SSAValue
    spread: SSAValue
    inverted: bool
    gamma: SSAValue
    beta: SSAValue
    root: nn.AddOp


def rebuild_batch_norm(op: nn.SubOp, graph: Graph) -> bool:
    """Makes the chain that begins with ``op`` a ``nn.batch_norm``, if it is one."""
    chain = _match(op)
    if chain is None or not _is_positive(graph, chain.spread):
        return False
    root = chain.root
    spread = _channel_vector(root, chain.spread)
    std = insert_before(root, nn.ReciprocalOp, (spread,), spread.type).out if chain.inverted else spread
    var = insert_before(root, nn.MulOp, (std, std), std.type, name_hint="var").out
    gamma, beta, mean = (_channel_vector(root, one) for one in (chain.gamma, chain.beta, chain.mean))
    operands = (op.lhs, gamma, beta, mean, var)
    replace(root, insert_before(root, nn.BatchNormOp, operands, root.out.type, {"eps": real(0.0)}).out)
    return True


def _match(op: nn.SubOp) -> _Chain | None:
    x_shape = shape_of(op.lhs)
    if not _is_per_channel(op.rhs, x_shape):
        return None
    first, second = _factor_after(op.out, x_shape), None
    if first is not None:
        second = _factor_after(first[0].results[0], x_shape)
    if first is None or second is None:
        return None
    root = only_user(second[0].results[0])
    if not isinstance(root, nn.AddOp):
        return None
    beta = _other_operand(root, second[0].results[0], x_shape)
    if beta is None:
        return None
    match first[0], second[0]:
        case nn.DivOp(), nn.MulOp():
            return _Chain(op.rhs, first[1], False, second[1], beta, root)
        case nn.MulOp(), nn.DivOp():
            return _Chain(op.rhs, second[1], False, first[1], beta, root)
        case nn.MulOp(), nn.MulOp():
            return _Chain(op.rhs, first[1], True, second[1], beta, root)
        case _:
            return None


def _factor_after(value: SSAValue, x_shape: tuple[int, ...]) -> tuple[Operation, SSAValue] | None:
    """The product with or quotient by a constant per channel that is the only use of ``value``."""
    user = only_user(value)
    if not isinstance(user, (nn.MulOp, nn.DivOp)) or (isinstance(user, nn.DivOp) and user.lhs is not value):
        return None
    other = _other_operand(user, value, x_shape)
    return None if other is None else (user, other)


def _other_operand(op: nn.BinaryOp, value: SSAValue, x_shape: tuple[int, ...]) -> SSAValue | None:
    other = op.rhs if op.lhs is value else op.lhs
    return other if _is_per_channel(other, x_shape) else None


def _is_per_channel(value: SSAValue, x_shape: tuple[int, ...]) -> bool:
    """Whether ``value`` depends on constants alone and varies along dimension 1 of x [N, C, ...] only."""
    shape = shape_of(value)
    if len(x_shape) < 2 or len(shape) > len(x_shape):
        return False
    aligned = (*(1,) * (len(x_shape) - len(shape)), *shape)
    expected = (1, x_shape[1], *(1,) * (len(x_shape) - 2))
    return aligned == expected and _is_constant_expression(value)


def _is_constant_expression(value: SSAValue) -> bool:
    owner = value.owner
    if isinstance(owner, nn.ConstantOp):
        return True
    return (
        isinstance(owner, Operation)
        and owner.has_trait(Pure)
        and all(_is_constant_expression(operand) for operand in owner.operands)
    )


def _is_positive(graph: Graph, value: SSAValue) -> bool:
    array = constant_array(graph, value)
    return array is None or bool(np.all(np.greater(array, 0)))


def _channel_vector(op: Operation, value: SSAValue) -> SSAValue:
    """``value`` as a tensor [C], in front of ``op``."""
    shape = shape_of(value)
    if len(shape) == 1:
        return value
    assert isinstance(value.type, TensorType)
    flat = TensorType(value.type.element_type, [max(shape)])
    return insert_before(op, nn.ReshapeOp, (value,), flat, name_hint=value.name_hint).out
