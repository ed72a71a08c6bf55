"""Give every contraction the block-floating-point operands that the policy names.

                                      %xq = bfp.quantize %x {rounding = "nearest", ...}
                                      %wq = bfp.quantize %w {...}
    %y = nn.conv %x, %w {...}     ->  %y = bfp.conv %xq, %wq {...}

A tensor that several contractions want in the same form is quantized once. The bias stays fp32. A layer whose
operands are both fp32 in the policy is left alone; one in fp32 and one not is an error (FX331). Where the
policy has a format for the result, it is stored in that: quantized, and dequantized for all that read it.

``emulated`` is the published emulator's arithmetic (profile bfpsim): signs beside the mantissa bits,
truncation, and contractions in fp32 on operands that were quantized and dequantized, or on one such operand.

In a training step the operands of local and weight gradients are quantized too, as the policy has it for
those passes; always from the fp32 tensor, never from another quantization of it. Stochastic rounding there
draws new bits in each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from xdsl.dialects.builtin import StringAttr, UnitAttr
from xdsl.ir import Attribute, Operation, SSAValue

from flexc.diagnostics import error
from flexc.ir import bfp, train
from flexc.ir.attributes import integer, place_of
from flexc.ir.program import Graph, carried_names
from flexc.numerics.block_float import Rounding
from flexc.passes.base import Pass
from flexc.passes.building import insert_before, replace, shape_of
from flexc.passes.differentiation.signature import STEP
from flexc.passes.quantizing.contractions import (
    QUANTIZED_FORMS,
    Contraction,
    ContractionUse,
    TileRule,
    contractions_of,
)
from flexc.precision.emulation import as_emulated
from flexc.precision.loading import DEFAULT_POLICY, load_policy
from flexc.precision.policy import Operand, OperandFormat, Policy
from flexc.precision.rounding import parse_roundings

MAX_NODES = 1 << 12
"""Quantize nodes that streams of random bits can tell apart (numerics specification, section 1)."""


@dataclass(frozen=True)
class InsertQuantize(Pass):
    """Options: the policy, ``everywhere`` to ignore its overrides, roundings in place of its own, a seed.

    The policy is a name or a .toml file; ``rounding`` is one word, or a list as ``flexc.precision.rounding``
    reads it; the seed is that of stochastic rounding; ``emulated`` as above.
    """

    name: ClassVar[str] = "insert-quantize"
    policy: str = DEFAULT_POLICY
    everywhere: bool = False
    rounding: str | None = None
    seed: int = 0
    emulated: bool = False

    def run(self, graph: Graph) -> bool:
        """Raises CompileError: FX310 for roundings, FX32x for the policy, FX331 to FX333 for a layer."""
        if self.emulated and self.rounding is not None:
            raise error("FX310", "the emulator truncates", hint="leave out --rounding in the bfpsim profile")
        roundings = () if self.rounding is None else parse_roundings(self.rounding)
        policy = load_policy(self.policy, everywhere=self.everywhere).with_settings(roundings)
        if self.emulated:
            policy = as_emulated(policy)
        quantizer = _Quantizer(
            graph, policy, self.seed, self.emulated, _step_number(graph), _free_streams(graph)
        )
        for use in tuple(contractions_of(graph.main)):
            quantizer.convert(use)
        return quantizer.changed


@dataclass
class _Quantizer:
    """The quantize nodes made so far, by what they quantize and how.

    ``step`` is a training step's number, ``streams`` how many streams of random bits its dropouts leave.
    """

    graph: Graph
    policy: Policy
    seed: int
    emulated: bool
    step: SSAValue | None
    streams: int
    changed: bool = False
    count: int = 0
    nodes: dict[tuple[SSAValue, bfp.BlockTensorType, Rounding], SSAValue] = field(default_factory=dict)

    def convert(self, use: ContractionUse) -> None:
        """Quantizes the operands and the result of a contraction, as the policy has it."""
        op, form = use.op, QUANTIZED_FORMS[type(use.op)]
        formats = tuple(self.policy.operand(use.layer, role, use.training_pass) for role in use.roles)
        wanted_result = self.policy.operand(use.layer, Operand.RESULT, use.training_pass)
        if wanted_result is not None:
            self._store(op, wanted_result, form.result)
        if not any(formats):
            return
        operands = list(op.operands)
        for index, (wanted, tile_of) in enumerate(zip(formats, form.tiles, strict=True)):
            if wanted is not None:
                operands[index] = self._node(op, operands[index], wanted, tile_of)
        self.changed = True
        if self.emulated:
            op.operands = operands
            return
        self._check_both(use, formats)
        made = insert_before(op, form.op_class, operands, op.out.type, op.attributes)
        replace(op, made.results[0])

    def _store(self, op: Contraction, wanted: OperandFormat, tile_of: TileRule) -> None:
        """Lets all that reads the result of ``op`` read it from the form that ``wanted`` stores it in."""
        following = op.next_op
        assert following is not None
        source = {name: value for name, value in op.attributes.items() if name == "source"}
        block_type = self._block_type(op, op.out, wanted, tile_of)
        attributes = {bfp.OF_RESULT: UnitAttr(), **source}
        stored = self._insert(following, op.out, block_type, wanted.rounding, attributes)
        hint = f"{op.out.name_hint}_stored" if op.out.name_hint else None
        read = insert_before(following, bfp.DequantizeOp, (stored.out,), op.out.type, source, name_hint=hint)
        op.out.replace_uses_with_if(read.out, lambda use: use.operation is not stored)
        self.changed = True

    def _check_both(self, use: ContractionUse, formats: tuple[OperandFormat | None, ...]) -> None:
        if None in formats:
            stays = use.roles[formats.index(None)]
            raise error(
                "FX331",
                f"policy '{self.policy.name}' keeps its {stays} in fp32 and quantizes the other operand",
                place=place_of(use.op, self.graph.file),
                hint="a contraction takes both operands in fp32 or neither",
            )

    def _node(self, op: Contraction, value: SSAValue, wanted: OperandFormat, tile_of: TileRule) -> SSAValue:
        """The operand of ``op`` that ``value`` becomes: quantized, and read back if products are in fp32."""
        block_type = self._block_type(op, value, wanted, tile_of)
        key = (value, block_type, wanted.rounding)
        if key not in self.nodes:
            made: SSAValue = self._insert(op, value, block_type, wanted.rounding).out
            if self.emulated:
                made = insert_before(op, bfp.DequantizeOp, (made,), value.type).out
            self.nodes[key] = made
        return self.nodes[key]

    def _block_type(
        self, op: Contraction, value: SSAValue, wanted: OperandFormat, tile_of: TileRule
    ) -> bfp.BlockTensorType:
        shape = shape_of(value)
        tile = wanted.tile or tile_of(shape, wanted.group_length)
        if len(tile) != len(shape):
            raise error(
                "FX332",
                f"policy '{self.policy.name}' gives a tensor a tile of {len(tile)} dimensions",
                place=place_of(op, self.graph.file),
                detail=f"tile {list(tile)} for a tensor of shape {list(shape)}",
                hint="set 'group_length' instead, or limit the override by 'kind' or 'node'",
            )
        return bfp.block_tensor(shape, wanted.block.mantissa_bits, tile, wanted.block.sign)

    def _insert(
        self,
        before: Operation,
        value: SSAValue,
        block_type: bfp.BlockTensorType,
        rounding: Rounding,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> bfp.QuantizeOp:
        number, self.count = self.count, self.count + 1
        if rounding is Rounding.STOCHASTIC and number >= self.streams:
            raise error(
                "FX333",
                f"stochastic rounding tells {self.streams} quantize nodes apart, and this is one more",
                place=place_of(before, self.graph.file),
            )
        carried = {
            "rounding": StringAttr(rounding),
            "seed": integer(self.seed),
            "stream": integer(number),
            **(attributes or {}),
        }
        operands = [value]
        if rounding is Rounding.STOCHASTIC and self.step is not None:
            operands.append(self.step)
        hint = f"{value.name_hint}_m{block_type.mantissa_bits.data}" if value.name_hint else None
        return insert_before(before, bfp.QuantizeOp, operands, block_type, carried, name_hint=hint)


def _free_streams(graph: Graph) -> int:
    """Streams below the lowest one that a dropout has."""
    masks = [op for op in graph.main.body.block.ops if isinstance(op, train.DropoutMaskOp)]
    return min((int(op.node.value.data) for op in masks), default=MAX_NODES)


def _step_number(graph: Graph) -> SSAValue | None:
    if not carried_names(graph.main) or STEP not in graph.input_names:
        return None
    return graph.main.body.block.args[graph.input_names.index(STEP)]
