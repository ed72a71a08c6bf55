"""Give every contraction the block-floating-point operands that the policy names.

                                      %xq = bfp.quantize %x {rounding = "nearest", ...}
                                      %wq = bfp.quantize %w {...}
    %y = nn.conv %x, %w {...}     ->  %y = bfp.conv %xq, %wq {...}

A tensor that several contractions want in the same form is quantized once. The bias stays fp32. A layer whose
operands are both fp32 in the policy is left alone; one in fp32 and one not is an error (FX331).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from flexc.diagnostics import error
from flexc.ir import bfp, nn
from flexc.ir.attributes import integer, place_of
from flexc.ir.program import Graph
from flexc.numerics.block_float import Rounding
from flexc.passes.base import Pass
from flexc.passes.building import insert_before, replace, shape_of
from flexc.precision.layers import Layer, layers_of
from flexc.precision.loading import DEFAULT_POLICY, load_policy
from flexc.precision.policy import Operand, OperandFormat, Policy
from flexc.precision.tiles import conv_input_tile, conv_weight_tile, matmul_left_tile, matmul_right_tile

Contraction: TypeAlias = nn.ConvOp | nn.MatMulOp

MAX_NODES = 1 << 12
"""Quantize nodes that streams of random bits can tell apart (numerics specification, section 1)."""


@dataclass(frozen=True)
class InsertQuantize(Pass):
    """Options: the policy, ``everywhere`` to ignore its overrides, a rounding in place of its own, a seed.

    The policy is a name or a .toml file; the seed is that of stochastic rounding.
    """

    name: ClassVar[str] = "insert-quantize"
    policy: str = DEFAULT_POLICY
    everywhere: bool = False
    rounding: Rounding | None = None
    seed: int = 0

    def run(self, graph: Graph) -> bool:
        """Raises CompileError: FX32x for the policy, FX331 to FX333 for what it asks of a layer."""
        policy = load_policy(self.policy, everywhere=self.everywhere)
        if self.rounding is not None:
            policy = policy.with_rounding(self.rounding)
        quantizer = _Quantizer(graph, policy, self.seed)
        for op, layer in layers_of(graph.main).items():
            if isinstance(op, nn.ConvOp):
                quantizer.convert_conv(op, layer)
            elif isinstance(op, nn.MatMulOp):
                quantizer.convert_matmul(op, layer)
        return quantizer.changed


@dataclass
class _Quantizer:
    """The quantize nodes made so far, by what they quantize and how."""

    graph: Graph
    policy: Policy
    seed: int
    changed: bool = False
    nodes: dict[tuple[SSAValue, bfp.BlockTensorType, Rounding], bfp.QuantizeOp] = field(default_factory=dict)

    def convert_conv(self, op: nn.ConvOp, layer: Layer) -> None:
        formats = self._formats(op, layer, (Operand.ACTIVATION, Operand.WEIGHT))
        if formats is None:
            return
        x_format, w_format = formats
        x_tile = x_format.tile or conv_input_tile(len(shape_of(op.x)), x_format.group_length)
        w_tile = w_format.tile or conv_weight_tile(shape_of(op.w), w_format.group_length)
        operands = [self._node(op, op.x, x_format, x_tile), self._node(op, op.w, w_format, w_tile)]
        self._replace(op, bfp.ConvOp, operands, op.bias)

    def convert_matmul(self, op: nn.MatMulOp, layer: Layer) -> None:
        roles = (_matmul_role(op.a), _matmul_role(op.b))
        formats = self._formats(op, layer, roles)
        if formats is None:
            return
        a_format, b_format = formats
        a_tile = a_format.tile or matmul_left_tile(len(shape_of(op.a)), a_format.group_length)
        b_tile = b_format.tile or matmul_right_tile(len(shape_of(op.b)), b_format.group_length)
        operands = [self._node(op, op.a, a_format, a_tile), self._node(op, op.b, b_format, b_tile)]
        self._replace(op, bfp.MatMulOp, operands, op.bias)

    def _formats(
        self, op: Contraction, layer: Layer, roles: tuple[Operand, Operand]
    ) -> tuple[OperandFormat, OperandFormat] | None:
        first, second = (self.policy.operand(layer, role) for role in roles)
        if first is None and second is None:
            return None
        if first is None or second is None:
            stays = roles[0] if first is None else roles[1]
            raise error(
                "FX331",
                f"policy '{self.policy.name}' keeps its {stays} in fp32 and quantizes the other operand",
                place=place_of(op, self.graph.file),
                hint="a contraction takes both operands in fp32 or neither",
            )
        return first, second

    def _node(
        self, op: Contraction, value: SSAValue, wanted: OperandFormat, tile: tuple[int, ...]
    ) -> SSAValue:
        shape = shape_of(value)
        if len(tile) != len(shape):
            raise error(
                "FX332",
                f"policy '{self.policy.name}' gives an operand a tile of {len(tile)} dimensions",
                place=place_of(op, self.graph.file),
                detail=f"tile {list(tile)} for a tensor of shape {list(shape)}",
                hint="set 'group_length' instead, or limit the override by 'kind' or 'node'",
            )
        block_type = bfp.block_tensor(shape, wanted.block.mantissa_bits, tile, wanted.block.sign)
        key = (value, block_type, wanted.rounding)
        if key not in self.nodes:
            self.nodes[key] = self._insert(op, value, block_type, wanted.rounding)
        return self.nodes[key].out

    def _insert(
        self, op: Contraction, value: SSAValue, block_type: bfp.BlockTensorType, rounding: Rounding
    ) -> bfp.QuantizeOp:
        number = len(self.nodes)
        if rounding is Rounding.STOCHASTIC and number >= MAX_NODES:
            raise error(
                "FX333",
                f"stochastic rounding tells {MAX_NODES} quantize nodes apart, and this is one more",
                place=place_of(op, self.graph.file),
            )
        attributes = {
            "rounding": StringAttr(rounding),
            "seed": integer(self.seed),
            "stream": integer(number),
        }
        hint = f"{value.name_hint}_m{block_type.mantissa_bits.data}" if value.name_hint else None
        return insert_before(op, bfp.QuantizeOp, (value,), block_type, attributes, name_hint=hint)

    def _replace(
        self,
        op: Contraction,
        op_class: type[bfp.ConvOp] | type[bfp.MatMulOp],
        operands: list[SSAValue],
        bias: SSAValue | None,
    ) -> None:
        if bias is not None:
            operands.append(bias)
        made = insert_before(op, op_class, operands, op.out.type, op.attributes)
        replace(op, made.out)
        self.changed = True


def _matmul_role(value: SSAValue) -> Operand:
    return Operand.WEIGHT if nn.is_constant(value) else Operand.ACTIVATION
