"""What a model takes the integers of an input for: entries of a table, or classes of a loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import Place
from flexc.ir import nn
from flexc.ir.attributes import place_of
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of
from flexc.tensor_spec import IntegerValues

Array: TypeAlias = npt.NDArray[Any]
LOSS_OPERATORS = ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
"""The operators of ONNX that compare an input with classes; the loss of a training step is of no node."""
_MOVEMENT = nn.CastOp | nn.ExpandOp | nn.ReshapeOp | nn.SliceOp | nn.TransposeOp
"""Ops whose results have no other elements than their operand."""


@dataclass(frozen=True)
class IntegerUse:
    """Which integers the op at ``place`` takes; ``hint`` is for those who have others."""

    values: IntegerValues
    place: Place
    hint: str = ""


def integer_uses(graph: Graph, argument: SSAValue) -> Iterator[IntegerUse]:
    """The uses of an argument of ``@main``: none for fp32, or where any integer is right.

    Each loss stands in the ops that the importer makes of it, before passes or behind them.
    """
    element = spec_of(argument.type).element
    if element == "f32":
        return
    if element == "i32":
        bounds = np.iinfo(np.int32)
        values = IntegerValues("the model takes it as i32", int(bounds.min), int(bounds.max))
        yield IntegerUse(values, Place(graph.file))
    compared: dict[Place, list[Array]] = {}
    for op, value in _readers(argument):
        place = place_of(op, graph.file)
        if isinstance(op, nn.GatherOp) and op.indices is value:
            entries = spec_of(op.x.type).shape[int(op.axis.value.data)]
            what = f"the table that the model looks it up in has {entries} entries"
            yield IntegerUse(IntegerValues(what, -entries, entries - 1), place)
        elif (
            isinstance(op, nn.EqualOp)
            and isinstance(op.rhs.owner, nn.ConstantOp)
            and ("source" not in op.attributes or place.op_type in LOSS_OPERATORS)
        ):
            compared.setdefault(place, []).append(graph.weights.get(op.rhs.owner.key.data))
    for place, constants in compared.items():
        yield _classes(place, constants)


def _classes(place: Place, constants: list[Array]) -> IntegerUse:
    """Of a loss that compares labels with all its classes, and with the label to ignore, a scalar."""
    (largest,) = (int(one[-1]) for one in constants if one.ndim)
    ignored = tuple(int(one) for one in constants if not one.ndim)
    beside = "".join(f", and ignores {one}" for one in ignored)
    whose, hint = "the loss", ""
    if place.op_type in LOSS_OPERATORS:
        whose, hint = "the model's loss", "a label to leave out is the loss node's ignore_index"
    what = f"{whose} has the classes 0 to {largest}{beside}"
    return IntegerUse(IntegerValues(what, 0, largest, ignored), place, hint)


def _readers(value: SSAValue) -> Iterator[tuple[Operation, SSAValue]]:
    """What reads ``value``, or elements of it that were moved, and under which value."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, _MOVEMENT):
            yield from _readers(op.out)
        else:
            yield op, value
