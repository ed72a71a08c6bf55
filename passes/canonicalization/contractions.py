"""What a contraction can take over from its neighbours without changing a bit: zero padding and a bias."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.attributes import integers
from flexc.ir.program import Graph
from flexc.passes.building import insert_before, replace, shape_of


def conv_of_pad(op: nn.ConvOp, graph: Graph) -> bool:
    """A conv of a tensor padded with +0 in space pads more itself: neither kind of padding adds a term."""
    pad = op.x.owner
    if (
        not isinstance(pad, nn.PadOp)
        or pad.mode.data != "constant"
        or not _is_positive_zero(pad.value.value.data)
    ):
        return False
    rank = len(shape_of(op.x))
    amounts = tuple(int(amount) for amount in pad.pads.get_values())
    begins, ends = amounts[:rank], amounts[rank:]
    if min(amounts) < 0 or any((*begins[:2], *ends[:2])):
        return False
    total = [own + added for own, added in zip(op.pads.get_values(), (*begins[2:], *ends[2:]), strict=True)]
    operands = (pad.x, *op.operands[1:])
    attributes = {**op.attributes, "pads": integers(total)}
    replace(op, insert_before(op, nn.ConvOp, operands, op.out.type, attributes).out)
    return True


def add_bias(op: nn.AddOp, graph: Graph) -> bool:
    """A constant per output channel (conv) or column (matmul), added to a contraction without bias, is one.

    Either way it is one fp32 addition after the last partial sum (numerics specification, section 2).
    """
    for contraction, constant in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        owner = contraction.owner
        if (
            isinstance(owner, (nn.ConvOp, nn.MatMulOp))
            and owner.bias is None
            and contraction.has_one_use()
            and contraction.type == op.out.type
            and nn.is_constant(constant)
            and shape_of(constant) == _bias_shape(owner, len(shape_of(constant)))
        ):
            _give_bias(op, owner, constant)
            return True
    return False


def _bias_shape(contraction: nn.ConvOp | nn.MatMulOp, rank: int) -> tuple[int, ...]:
    """The shape, of rank ``rank``, that a bias has as an operand of an addition."""
    shape = shape_of(contraction.out)
    axis = 1 if isinstance(contraction, nn.ConvOp) else len(shape) - 1
    return tuple(extent if at == axis else 1 for at, extent in enumerate(shape))[len(shape) - rank :]


def _give_bias(op: nn.AddOp, contraction: nn.ConvOp | nn.MatMulOp, constant: SSAValue) -> None:
    bias = constant
    if len(shape_of(constant)) != 1:
        assert isinstance(constant.type, TensorType)
        flat = TensorType(constant.type.element_type, [math.prod(shape_of(constant))])
        bias = insert_before(op, nn.ReshapeOp, (constant,), flat, name_hint=constant.name_hint).out
    operands = (*contraction.operands, bias)
    made = insert_before(op, type(contraction), operands, op.out.type, contraction.attributes)
    replace(op, made.results[0])


def _is_positive_zero(value: float) -> bool:
    return value == 0 and math.copysign(1, value) > 0
