"""Attributes shared by the dialects, and the Python values they stand for.

Every op may carry ``source = #nn.source<"layer2.0.conv1", "Conv", 17>``: the name, operator and index of
the ONNX node it came from, so that every message and every dump can name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    f32,
    i1,
    i64,
)
from xdsl.ir import Attribute, Operation, ParametrizedAttribute
from xdsl.irdl import base, irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from flexc.diagnostics import Place

Literal: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


@irdl_attr_definition
class SourceAttr(ParametrizedAttribute):
    """The ONNX node an op came from: name, operator, index in the model's node list."""

    name = "nn.source"
    node_name: StringAttr = param_def(base(StringAttr))
    op_type: StringAttr = param_def(base(StringAttr))
    node_index: IntAttr = param_def()

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.node_name.data)
            printer.print_string(", ")
            printer.print_string_literal(self.op_type.data)
            printer.print_string(f", {self.node_index.data}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            node_name = parser.parse_str_literal()
            parser.parse_characters(",")
            op_type = parser.parse_str_literal()
            parser.parse_characters(",")
            node_index = parser.parse_integer()
        return [StringAttr(node_name), StringAttr(op_type), IntAttr(node_index)]


def source(node_name: str, op_type: str, node_index: int) -> SourceAttr:
    """The source attribute of one ONNX node."""
    return SourceAttr(StringAttr(node_name), StringAttr(op_type), IntAttr(node_index))


def place_of(op: Operation, file: str = "") -> Place:
    """Where a message about ``op`` should point."""
    found = op.attributes.get("source")
    if not isinstance(found, SourceAttr):
        return Place(file, op.name, op.name)
    return Place(file, found.node_name.data, found.op_type.data, found.node_index.data)


def integers(values: Sequence[int]) -> DenseArrayBase[IntegerType]:
    """A dense i64 array attribute."""
    return DenseArrayBase.from_list(i64, list(values))


def integer(value: int) -> IntegerAttr[IntegerType]:
    """An i64 attribute."""
    return IntegerAttr(value, i64)


def boolean(value: bool) -> IntegerAttr[IntegerType]:
    """An i1 attribute."""
    return IntegerAttr(int(value), i1)


def real(value: float) -> FloatAttr:
    """An f32 attribute, rounded to fp32."""
    return FloatAttr(float(np.float32(value)), f32)


def reals(values: Sequence[float]) -> ArrayAttr[FloatAttr]:
    """An array of f32 attributes. (A dense f32 array does not parse back where its text is hexadecimal.)"""
    return ArrayAttr([real(value) for value in values])


def attribute_of(value: Literal | Sequence[int]) -> Attribute:
    """The attribute that :func:`literal` reads as ``value``; a sequence is one of integers."""
    match value:
        case bool():
            return boolean(value)
        case int():
            return integer(value)
        case float():
            return real(value)
        case str():
            return StringAttr(value)
        case _:
            return integers([int(one) for one in value])


def literal(attribute: Attribute) -> Literal:
    """The Python value of an attribute of an op; TypeError for one that stands for none."""
    match attribute:
        case IntegerAttr():
            return bool(attribute.value.data) if attribute.type == i1 else int(attribute.value.data)
        case FloatAttr():
            return float(attribute.value.data)
        case StringAttr():
            return attribute.data
        case DenseArrayBase():
            return tuple(attribute.get_values())
        case ArrayAttr() if all(isinstance(one, FloatAttr) for one in attribute):
            return tuple(one.value.data for one in attribute)
        case _:
            raise TypeError(f"{attribute.name} has no literal")
