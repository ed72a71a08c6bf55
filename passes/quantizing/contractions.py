"""The contractions of a graph: their quantized form, tiles of operands and result, layer and pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import IRDLOperation

from flexc.ir import bfp, nn
from flexc.ir.train import RoleAttr, role_of
from flexc.precision import tiles
from flexc.precision.layers import Layer, layer_of_role, layers_of
from flexc.precision.policy import Operand, TrainingPass

Contraction: TypeAlias = nn.ConvOp | nn.MatMulOp | nn.ConvLocalGradOp | nn.ConvWeightGradOp
TileRule: TypeAlias = Callable[[Sequence[int], int], tuple[int, ...]]
"""(shape of an operand, group length) -> tile."""


@dataclass(frozen=True)
class QuantizedForm:
    """The op on quantized operands, the default tiles of the two, and that of its result."""

    op_class: type[IRDLOperation]
    tiles: tuple[TileRule, TileRule]
    result: TileRule


def _by_rank(rule: Callable[[int, int], tuple[int, ...]]) -> TileRule:
    return lambda shape, group_length: rule(len(shape), group_length)


QUANTIZED_FORMS: Mapping[type[Operation], QuantizedForm] = {
    nn.ConvOp: QuantizedForm(
        bfp.ConvOp, (_by_rank(tiles.conv_input_tile), tiles.conv_weight_tile), _by_rank(tiles.conv_input_tile)
    ),
    nn.MatMulOp: QuantizedForm(
        bfp.MatMulOp,
        (_by_rank(tiles.matmul_left_tile), _by_rank(tiles.matmul_right_tile)),
        _by_rank(tiles.matmul_left_tile),
    ),
    nn.ConvLocalGradOp: QuantizedForm(
        bfp.ConvLocalGradOp,
        (_by_rank(tiles.conv_input_tile), tiles.conv_local_grad_weight_tile),
        _by_rank(tiles.conv_input_tile),
    ),
    nn.ConvWeightGradOp: QuantizedForm(
        bfp.ConvWeightGradOp,
        (_by_rank(tiles.conv_weight_grad_tile), _by_rank(tiles.conv_weight_grad_tile)),
        tiles.conv_weight_result_tile,
    ),
}
"""Numerics specification, section 1: the table of tiles. Tiles of results are this compiler's own choice."""


@dataclass(frozen=True)
class ContractionUse:
    """A contraction, and what a policy decides its formats by."""

    op: Contraction
    layer: Layer
    training_pass: TrainingPass
    roles: tuple[Operand, Operand]


def contractions_of(function: FuncOp) -> Iterator[ContractionUse]:
    """Every fp32 contraction in order. In a training step their roles say what they are."""
    ops = [op for op in function.body.block.ops if type(op) in QUANTIZED_FORMS]
    layers = {} if any(role_of(op) is not None for op in ops) else layers_of(function)
    for op in ops:
        assert isinstance(op, Contraction)
        role = role_of(op)
        if role is not None:
            yield _of_role(op, role)
        elif op in layers:
            yield ContractionUse(op, layers[op], TrainingPass.FORWARD, _roles(op))


def _of_role(op: Contraction, role: RoleAttr) -> ContractionUse:
    left, right = (Operand(word.data) for word in role.operands)
    return ContractionUse(op, layer_of_role(role), TrainingPass(role.training_pass.data), (left, right))


def _roles(op: Contraction) -> tuple[Operand, Operand]:
    if isinstance(op, nn.MatMulOp):
        return _matmul_role(op.a), _matmul_role(op.b)
    return Operand.ACTIVATION, Operand.WEIGHT


def _matmul_role(value: SSAValue) -> Operand:
    return Operand.WEIGHT if nn.is_constant(value) else Operand.ACTIVATION
