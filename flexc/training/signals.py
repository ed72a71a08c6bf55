"""What dynamic precision follows: errors of the operands, or the three signals of the published emulator."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.ir.value_names import value_names
from flexc.numerics.block_float import GROUP_LENGTH
from flexc.passes.building import shape_of
from flexc.passes.quantizing.contractions import QUANTIZED_FORMS, TileRule
from flexc.precision.policy import Operand, TrainingPass
from flexc.training.zero_setting import ContractionPoint, Format, QuantizedOperand, quantized_operands

_RESULT_TILES: dict[type[Operation], TileRule] = {
    **{made_of: form.result for made_of, form in QUANTIZED_FORMS.items()},
    **{form.op_class: form.result for form in QUANTIZED_FORMS.values()},
}


class Signal(StrEnum):
    """``operands``: both operands of a contraction, zeros before aside (numerics specification, section 1).

    ``emulator``: what the published emulator looks at, all zeros counted: the weight for the forward pass,
    the gradient of the input for the local gradient, that of the weight for the weight gradient. A product
    of two activations has no weight; its operands stand for it.
    """

    OPERANDS = "operands"
    EMULATOR = "emulator"


def signals_of(graph: Graph, signal: Signal) -> tuple[QuantizedOperand, ...]:
    """The tensors of a training step whose errors speak for its quantized contractions."""
    operands = quantized_operands(graph)
    if signal is Signal.OPERANDS:
        return operands
    return (*_forward_signals(operands), *_gradient_signals(graph))


def _forward_signals(operands: tuple[QuantizedOperand, ...]) -> Iterator[QuantizedOperand]:
    weighted = {point for one in operands for point, operand in one.uses if operand is Operand.WEIGHT}
    for one in operands:
        uses = tuple(
            (point, operand)
            for point, operand in one.uses
            if point.training_pass is TrainingPass.FORWARD
            and (operand is Operand.WEIGHT or point not in weighted)
        )
        if uses:
            yield QuantizedOperand(one.variable, one.format, uses)


def _gradient_signals(graph: Graph) -> Iterator[QuantizedOperand]:
    names = value_names(graph.main)
    for op in graph.main.body.block.ops:
        role = role_of(op)
        blocks = [found for value in op.operands[:2] if (found := _block_of(value)) is not None]
        if role is None or not blocks or role.training_pass.data == TrainingPass.FORWARD:
            continue
        widest = max(blocks, key=lambda one: one.mantissa_bits.data)
        bits = widest.mantissa_bits.data
        (result,) = op.results
        tile = _RESULT_TILES[type(op)](shape_of(result), GROUP_LENGTH[bits])
        point = ContractionPoint(role.layer.data, TrainingPass(role.training_pass.data))
        yield QuantizedOperand(
            names[result], Format(bits, tile, widest.sign.data), ((point, Operand.RESULT),)
        )


def _block_of(value: SSAValue) -> bfp.BlockTensorType | None:
    """The type of the quantized operand that ``value`` is, or was read back from."""
    if isinstance(value.owner, Operation) and isinstance(value.owner, bfp.DequantizeOp):
        value = value.owner.x
    return value.type if isinstance(value.type, bfp.BlockTensorType) else None
