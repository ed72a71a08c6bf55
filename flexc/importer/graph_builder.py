"""The function under construction: constants, ops and names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from flexc.diagnostics import Place, error
from flexc.importer import folding
from flexc.importer.limits import require_tensor_fits
from flexc.importer.tensors import Array, require_finite
from flexc.importer.values import Value
from flexc.ir import nn
from flexc.ir.attributes import attribute_of, source
from flexc.ir.program import INPUTS, OUTPUTS, Graph, name_array
from flexc.ir.shapes import ShapeError, TensorSpec
from flexc.ir.tensor_op import TensorOp, tensor_type
from flexc.ir.weight_store import WeightStore

Operand: TypeAlias = Value | Sequence[Value] | None
Keyword: TypeAlias = bool | int | float | str | Sequence[int]


class GraphBuilder:
    """One function, filled op by op. Constants enter it when the first op needs them."""

    def __init__(self, file: str, inputs: dict[str, TensorSpec]) -> None:
        self._file = file
        self._block = Block(arg_types=[tensor_type(spec) for spec in inputs.values()])
        self._weights = WeightStore()
        self._hints: set[str] = set()
        self._dropouts = 0
        self.inputs: dict[str, Value] = {}
        for argument, (name, spec) in zip(self._block.args, inputs.items(), strict=True):
            argument.name_hint = self._hint(name)
            self.inputs[name] = Value(name, spec, None, argument)

    def next_dropout(self) -> int:
        """How many dropouts were asked for before."""
        self._dropouts += 1
        return self._dropouts - 1

    def emit(
        self,
        op: type[TensorOp],
        operands: Sequence[Operand],
        keywords: dict[str, Keyword],
        *,
        name: str,
        place: Place,
    ) -> Value:
        """The result of a new op, or of its kernel where all operands are known.

        ``keywords`` are those of the op's type rule; the ones that are no attributes only shape the result.
        CompileError FX106 (size), FX107 (a constant is not finite), FX203 (shapes), FX208 (evaluation).
        """
        flat = [value for operand in operands for value in _each(operand)]
        try:
            specs = [spec for operand in operands for spec in _specs(operand)]
            result = op.RULE(*specs, **keywords)
            assert isinstance(result, TensorSpec), f"{op.name} has several results"
        except ShapeError as refusal:
            detail = "value " + " x ".join(value.describe() for value in flat)
            raise error("FX203", refusal.message, place=place, detail=detail, hint=refusal.hint) from refusal
        require_tensor_fits(result.shape, place, f"value '{name}'")
        arrays = [value.array for value in flat]
        if folding.is_foldable(op, arrays, result):
            detached = _build(op, _ssa(operands, _stand_in), keywords, result, place)
            return Value.constant(name, _evaluate(detached, result, flat, place))
        built = _build(op, _ssa(operands, self.materialize), keywords, result, place)
        self._block.add_op(built)
        built.results[0].name_hint = self._hint(name)
        return Value(name, result, None, built.results[0])

    def materialize(self, value: Value) -> SSAValue:
        """The value in the IR; a constant enters the weight store. CompileError FX107 if it is not finite."""
        if value.ssa is None:
            assert value.array is not None, f"value '{value.name}' is neither constant nor in the IR"
            if not value.is_checked:
                require_finite(value.array, value.name, Place(self._file))
            key = self._weights.add(value.name, value.array)
            constant = nn.ConstantOp.build(
                attributes={"key": StringAttr(key)}, result_types=[tensor_type(value.spec)]
            )
            self._block.add_op(constant)
            constant.out.name_hint = self._hint(value.name)
            value.ssa = constant.out
        return value.ssa

    def finish(self, outputs: dict[str, Value]) -> Graph:
        """The graph that returns ``outputs``; nothing can be added to it afterwards."""
        returned = [self.materialize(value) for value in outputs.values()]
        self._block.add_op(ReturnOp(*returned))
        types = ([argument.type for argument in self._block.args], [value.type for value in returned])
        main = FuncOp("main", types, Region(self._block))
        main.attributes[INPUTS] = name_array(tuple(self.inputs))
        main.attributes[OUTPUTS] = name_array(tuple(outputs))
        return Graph(ModuleOp([main]), self._weights, self._file)

    def _hint(self, name: str) -> str:
        """A name for printed IR: an identifier of its own (the printer drops a trailing ``_<n>``)."""
        text = re.sub(r"_+(\d+)$", r"\1", re.sub(r"[^0-9A-Za-z_]+", "_", name)) or "value"
        base = f"v{text}" if text[0].isdigit() else text
        candidate, number = base, 0
        while candidate in self._hints:
            number += 1
            candidate = f"{base}x{number}"
        self._hints.add(candidate)
        return candidate


def _each(operand: Operand) -> Sequence[Value]:
    if operand is None:
        return ()
    return (operand,) if isinstance(operand, Value) else operand


def _specs(operand: Operand) -> Sequence[TensorSpec | None]:
    return (None,) if operand is None else tuple(value.spec for value in _each(operand))


def _ssa(
    operands: Sequence[Operand], enter: Callable[[Value], SSAValue]
) -> list[SSAValue | Sequence[SSAValue]]:
    return [
        enter(operand) if isinstance(operand, Value) else [enter(value) for value in _each(operand)]
        for operand in operands
    ]


def _stand_in(value: Value) -> SSAValue:
    return folding.stand_in(value.spec).out


def _evaluate(op: TensorOp, result: TensorSpec, operands: Sequence[Value], place: Place) -> Array:
    arrays = [operand.array for operand in operands if operand.array is not None]
    try:
        return folding.evaluate(op, result, arrays)
    except (IndexError, ZeroDivisionError) as failure:
        detail = " x ".join(f"'{operand.name}' {operand.array}" for operand in operands)
        raise error("FX208", f"constant arithmetic fails: {failure}", place=place, detail=detail) from failure


@cache
def _attribute_names(op: type[TensorOp]) -> frozenset[str]:
    return frozenset(op.get_irdl_definition().attributes)


def _build(
    op: type[TensorOp],
    operands: Sequence[SSAValue | Sequence[SSAValue]],
    keywords: dict[str, Keyword],
    result: TensorSpec,
    place: Place,
) -> TensorOp:
    attributes: dict[str, Attribute] = {
        name: attribute_of(value) for name, value in keywords.items() if name in _attribute_names(op)
    }
    assert place.node_index is not None, "ops are made for nodes"
    attributes["source"] = source(place.node_name, place.op_type, place.node_index)
    return op.build(operands=operands, attributes=attributes, result_types=[tensor_type(result)])
