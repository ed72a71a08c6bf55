"""Ops whose results' types follow from their operands and attributes by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

from xdsl.dialects.builtin import IntegerType, TensorType, f32
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.utils.exceptions import VerifyException

from flexc.ir.attributes import literal
from flexc.ir.block_type import BlockTensorType
from flexc.ir.shapes import Element, ShapeError, TensorSpec, element_named

TypeRule: TypeAlias = Callable[..., TensorSpec | tuple[TensorSpec, ...]]
_WIDTHS: dict[Element, int] = {"i64": 64, "i32": 32, "i1": 1}


def spec_of(value_type: Attribute) -> TensorSpec:
    """Shape and element type of a tensor type; a quantized tensor counts as f32.

    ShapeError for any other type, TypeError for an attribute that is no tensor.
    """
    if isinstance(value_type, BlockTensorType):
        return TensorSpec(value_type.get_shape())
    if not isinstance(value_type, TensorType):
        raise TypeError(f"{value_type} is not a tensor type")
    return TensorSpec(tuple(value_type.get_shape()), element_named(str(value_type.element_type)))


def tensor_type(spec: TensorSpec) -> TensorType[Attribute]:
    """The IR type of a tensor."""
    element = f32 if spec.element == "f32" else IntegerType(_WIDTHS[spec.element])
    return TensorType(element, spec.shape)


class TensorOp(IRDLOperation):
    """An op of tensors; ``RULE`` gives the types of its results (see :mod:`flexc.ir.shapes`).

    An op of one result calls it ``out``; its rule gives one type, that of an op of several gives a tuple.
    """

    RULE: ClassVar[TypeRule]

    def result_keywords(self) -> dict[str, object]:
        """Keywords of the rule that only the result type says."""
        return {}

    def verify_(self) -> None:
        """VerifyException where the rule refuses the operands or gives another type."""
        try:
            keywords = {
                name: literal(self.attributes[name])
                for name in type(self).get_irdl_definition().attributes
                if name != "source"
            }
            expected = type(self).RULE(*self._operand_specs(), **keywords, **self.result_keywords())
            found = tuple(spec_of(result.type) for result in self.results)
        except ShapeError as refusal:
            raise VerifyException(f"{self.name}: {refusal.message}") from refusal
        wanted = expected if isinstance(expected, tuple) else (expected,)
        if found != wanted:
            texts = [" and ".join(map(str, specs)) for specs in (found, wanted)]
            raise VerifyException(f"{self.name}: the result is {texts[0]}, but the operands give {texts[1]}")

    def _operand_specs(self) -> Iterator[TensorSpec | None]:
        for name, _ in type(self).get_irdl_definition().operands:
            operand = getattr(self, name)
            if operand is None:
                yield None
            elif isinstance(operand, SSAValue):
                yield spec_of(operand.type)
            else:
                yield from (spec_of(each.type) for each in operand)
