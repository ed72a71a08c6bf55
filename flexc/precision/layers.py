"""What a policy can ask about a contraction: its name, its kind, and where it stands in the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import place_of
from flexc.ir.train import RoleAttr

SHORTCUT_MAIN_PATH_CONTRACTIONS = 2
"""A shortcut bypasses at least as many contractions; one on either side are two branches, not a bypass."""


class LayerKind(StrEnum):
    """Kinds of contraction; a layer may be of several (a shortcut is also pointwise and a conv)."""

    CONV = "conv"
    DEPTHWISE = "depthwise"
    POINTWISE = "pointwise"
    SHORTCUT = "shortcut"
    LINEAR = "linear"
    MATMUL = "matmul"


@dataclass(frozen=True)
class Layer:
    """One contraction as policies see it.

    ``first``: no contraction stands between a graph input and it, on any path.
    ``last``: no contraction follows it, and it is linear or pointwise (a classifier, or the head of one).
    """

    name: str
    kinds: frozenset[LayerKind]
    first: bool = False
    last: bool = False


def layer_of_role(role: RoleAttr) -> Layer:
    """The layer that a contraction of a training step belongs to, as its forward pass was."""
    kinds = frozenset(LayerKind(kind.data) for kind in role.kinds)
    return Layer(role.layer.data, kinds, first=bool(role.first.data), last=bool(role.last.data))


def layers_of(function: FuncOp) -> dict[Operation, Layer]:
    """The contractions of the ``nn`` dialect in ``function``, in order, and what they are.

    Kinds: a conv of one input channel a group is depthwise, one of 1x1 kernels and a single group pointwise;
    a matmul is linear if an operand is a constant. A pointwise conv is a shortcut if its result, through ops
    of one operand, is added to a value that at least two other contractions lead to from its own input.
    """
    ops = tuple(function.body.block.ops)
    contractions = [op for op in ops if isinstance(op, (nn.ConvOp, nn.MatMulOp))]
    preceding = _contractions_before(function, ops)
    followed = _followed_by_contraction(ops)
    position = {op: index for index, op in enumerate(ops)}
    found: dict[Operation, Layer] = {}
    for op in contractions:
        kinds = _kinds(op)
        if LayerKind.POINTWISE in kinds and _is_shortcut(op, ops, position):
            kinds |= {LayerKind.SHORTCUT}
        found[op] = Layer(
            _name(op),
            kinds,
            first=preceding.get(op.out) == 1,
            last=op not in followed and bool(kinds & {LayerKind.LINEAR, LayerKind.POINTWISE}),
        )
    return found


def _name(op: Operation) -> str:
    return place_of(op).node_name if "source" in op.attributes else op.results[0].name_hint or op.name


def _kinds(op: nn.ConvOp | nn.MatMulOp) -> frozenset[LayerKind]:
    if isinstance(op, nn.MatMulOp):
        constant = nn.is_constant(op.a) or nn.is_constant(op.b)
        return frozenset({LayerKind.LINEAR if constant else LayerKind.MATMUL})
    assert isinstance(op.w.type, TensorType)
    _, channels, *kernel = op.w.type.get_shape()
    kinds = {LayerKind.CONV}
    if channels == 1:
        kinds.add(LayerKind.DEPTHWISE)
    elif all(extent == 1 for extent in kernel) and op.group.value.data == 1:
        kinds.add(LayerKind.POINTWISE)
    return frozenset(kinds)


def _contractions_before(function: FuncOp, ops: tuple[Operation, ...]) -> dict[SSAValue, int]:
    """For each value that depends on an input, the most contractions on a path to it, its own included."""
    count: dict[SSAValue, int] = dict.fromkeys(function.body.block.args, 0)
    _propagate(count, ops)
    return count


def _propagate(count: dict[SSAValue, int], ops: Sequence[Operation]) -> None:
    for op in ops:
        reached = [count[operand] for operand in op.operands if operand in count]
        if reached:
            own = 1 if isinstance(op, (nn.ConvOp, nn.MatMulOp)) else 0
            for result in op.results:
                count[result] = max(reached) + own


def _followed_by_contraction(ops: tuple[Operation, ...]) -> set[Operation]:
    followed: set[Operation] = set()
    for op in reversed(ops):
        if any(
            use.operation in followed or isinstance(use.operation, (nn.ConvOp, nn.MatMulOp))
            for result in op.results
            for use in result.uses
        ):
            followed.add(op)
    return followed


def _is_shortcut(
    op: nn.ConvOp | nn.MatMulOp, ops: tuple[Operation, ...], position: dict[Operation, int]
) -> bool:
    bypassed = set(_unary_ancestors(op.operands[0]))
    earliest = min(
        position[value.owner] + 1 if isinstance(value.owner, Operation) else 0 for value in bypassed
    )
    for joined, other in _additions(op.results[0]):
        count = dict.fromkeys(bypassed, 0)
        # What leads to the other side through the conv itself does not bypass it.
        _propagate(count, [one for one in ops[earliest : position[joined]] if one is not op])
        if count.get(other, 0) >= SHORTCUT_MAIN_PATH_CONTRACTIONS:
            return True
    return False


def _unary_ancestors(value: SSAValue) -> Iterator[SSAValue]:
    """``value`` and what it is made of by ops that read one activation and are no contraction."""
    yield value
    owner = value.owner
    if not isinstance(owner, Operation) or isinstance(owner, (nn.ConvOp, nn.MatMulOp)):
        return
    activations = [operand for operand in owner.operands if not nn.is_constant(operand)]
    if len(activations) == 1:
        yield from _unary_ancestors(activations[0])


def _additions(value: SSAValue) -> Iterator[tuple[Operation, SSAValue]]:
    """The additions of two activations that ``value`` reaches through ops of one, and their other side."""
    for use in value.uses:
        user = use.operation
        activations = [operand for operand in user.operands if not nn.is_constant(operand)]
        if isinstance(user, nn.AddOp) and len(activations) == 2:
            yield user, activations[1 - use.index]
        elif len(activations) == 1 and not isinstance(user, (nn.ConvOp, nn.MatMulOp, ReturnOp)):
            yield from _additions(user.results[0])
