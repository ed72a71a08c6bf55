"""Integers of a data set that a model takes for entries of a table, or for classes of a loss of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation, SSAValue

from flexc.datasets.arrays import DataSet
from flexc.diagnostics import Place, error
from flexc.importer.operators.losses import LOSSES
from flexc.ir import nn
from flexc.ir.attributes import place_of
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of
from flexc.training.binding import Binding

Array: TypeAlias = npt.NDArray[Any]
_MOVEMENT = nn.CastOp | nn.ExpandOp | nn.ReshapeOp | nn.SliceOp | nn.TransposeOp
"""Ops whose results have no other elements than their operand."""


def check_integers(graph: Graph, data: DataSet, binding: Binding) -> None:
    """CompileError FX563 for integers of ``data`` that are no entry of a table, class of a loss, or i32.

    ``graph`` is the model as it was imported, with each loss in the ops that the importer makes of it.
    """
    for name, argument in zip(graph.input_names, graph.main.body.block.args, strict=True):
        if spec_of(argument.type).element == "f32":
            continue
        for purpose in _purposes(argument, graph):
            for given in (binding.array(examples, name) for examples in (data.train, data.test)):
                if not purpose.takes(given):
                    raise error(
                        "FX563",
                        f"'{binding.array_name(name, data)}' of '{data.name}' goes from {given.min()} to "
                        f"{given.max()}; {purpose.what}",
                        place=purpose.place,
                        hint=purpose.hint,
                    )


@dataclass(frozen=True)
class _Purpose:
    """``what`` a model does with integers: ``least`` to ``largest`` are right, and those ``ignored``."""

    what: str
    place: Place
    least: int
    largest: int
    ignored: tuple[int, ...] = ()
    hint: str = ""

    def takes(self, given: Array) -> bool:
        inside = (given >= self.least) & (given <= self.largest)
        return bool((inside | np.isin(given, self.ignored)).all())


def _purposes(argument: SSAValue, graph: Graph) -> Iterator[_Purpose]:
    if spec_of(argument.type).element == "i32":
        bounds = np.iinfo(np.int32)
        yield _Purpose("the model takes it as i32", Place(graph.file), int(bounds.min), int(bounds.max))
    compared: dict[Place, list[Array]] = {}
    for op, value in _readers(argument):
        place = place_of(op, graph.file)
        if isinstance(op, nn.GatherOp) and op.indices is value:
            entries = spec_of(op.x.type).shape[int(op.axis.value.data)]
            what = f"the table that the model looks it up in has {entries} entries"
            yield _Purpose(what, place, -entries, entries - 1)
        elif (
            isinstance(op, nn.EqualOp) and isinstance(op.rhs.owner, nn.ConstantOp) and place.op_type in LOSSES
        ):
            compared.setdefault(place, []).append(graph.weights.get(op.rhs.owner.key.data))
    for place, constants in compared.items():
        yield _classes(place, constants)


def _classes(place: Place, constants: list[Array]) -> _Purpose:
    """Of a loss that compares labels with all its classes, and with the label to ignore, a scalar."""
    (largest,) = (int(one[-1]) for one in constants if one.ndim)
    ignored = tuple(int(one) for one in constants if not one.ndim)
    beside = "".join(f", and ignores {one}" for one in ignored)
    what = f"the model's loss has the classes 0 to {largest}{beside}"
    return _Purpose(what, place, 0, largest, ignored, "a label to leave out is the loss node's ignore_index")


def _readers(value: SSAValue) -> Iterator[tuple[Operation, SSAValue]]:
    """What reads ``value``, or elements of it that were moved, and under which value."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, _MOVEMENT):
            yield from _readers(op.out)
        else:
            yield op, value
