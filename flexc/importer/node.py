"""One ONNX node as an importer of its operator sees it: typed access to operands and attributes, and results.

What an importer does not read is reported: an attribute or operand that the compiler would silently ignore
is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx

from flexc.diagnostics import CompileError, Place, error
from flexc.importer.graph_builder import GraphBuilder, Keyword, Operand
from flexc.importer.limits import FOLDED_ELEMENTS, require_computed_fits
from flexc.importer.tensors import Array, decode
from flexc.importer.values import Value
from flexc.ir.shapes import ShapeError
from flexc.ir.tensor_op import TensorOp

T = TypeVar("T")

_KINDS: dict[int, str] = {
    onnx.AttributeProto.FLOAT: "a float",
    onnx.AttributeProto.FLOATS: "a list of floats",
    onnx.AttributeProto.INT: "an integer",
    onnx.AttributeProto.INTS: "a list of integers",
    onnx.AttributeProto.STRING: "a string",
    onnx.AttributeProto.TENSOR: "a tensor",
}


class Node:
    """A node with its operands resolved; results are made through it so that they carry its place."""

    def __init__(
        self,
        proto: onnx.NodeProto,
        operands: Sequence[Value | None],
        builder: GraphBuilder,
        place: Place,
        opset: int,
        folder: Path,
        *,
        training: bool = False,
    ) -> None:
        """``training``: the model is imported for a training step."""
        self.op_type = proto.op_type
        self.training = training
        self.place = place
        self.opset = opset
        self._outputs = tuple(proto.output)
        self._result_name = next((name for name in proto.output if name), proto.op_type)
        self._operands = tuple(operands)
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}
        if len(self._attributes) != len(proto.attribute):
            raise self.error("FX202", "an attribute is given twice")
        self._unread_attributes = set(self._attributes)
        self._unread_operands = {index for index, operand in enumerate(operands) if operand is not None}
        self._builder = builder
        self._folder = folder

    @property
    def output_count(self) -> int:
        """Outputs that the node lists, left-out ones among them."""
        return len(self._outputs)

    def output_name(self, index: int) -> str:
        """The name of an output, or a name for one that is left out."""
        return self._outputs[index] or self.inner_name(str(index))

    # Operands.

    def operand(self, index: int) -> Value:
        """The operand at ``index``; CompileError FX204 without one."""
        found = self.optional_operand(index)
        if found is None:
            raise self.error("FX204", f"{self.op_type} needs an input {index}, which the node lacks")
        return found

    def optional_operand(self, index: int) -> Value | None:
        """The operand at ``index``, or None where it is left out."""
        self._unread_operands.discard(index)
        return self._operands[index] if index < len(self._operands) else None

    def operands(self) -> tuple[Value, ...]:
        """All operands of an op that takes any number; CompileError FX204 without any."""
        return tuple(self.operand(index) for index in range(max(1, len(self._operands))))

    def constant_operand(self, index: int, what: str) -> Array:
        """The elements of an operand that must be known; CompileError FX206 if they are not."""
        operand = self.operand(index)
        if operand.array is None:
            raise self.error(
                "FX206",
                f"{what} must be known at compile time",
                detail=f"value {operand.describe()}",
                hint="it may be an initializer, a Constant node, or computed from shapes",
            )
        require_computed_fits(operand.spec.shape, self.place, what)
        return operand.array

    def known_elements(self, x: Value) -> Array | None:
        """The elements of an operand that is not fp32 and known: what shape arithmetic computes with."""
        if x.array is None or x.spec.element == "f32":
            return None
        require_computed_fits(x.spec.shape, self.place, f"operand '{x.name}'")
        return x.array

    def integer_operand(self, index: int, what: str) -> tuple[int, ...]:
        """The elements of a constant vector (or scalar) of integers; CompileError FX203, FX206, FX207."""
        array = self.constant_operand(index, what)
        if not np.issubdtype(array.dtype, np.integer):
            raise self.error("FX207", f"{what} must be integers, not {array.dtype}")
        if array.ndim > 1 or array.size > FOLDED_ELEMENTS:
            raise self.error("FX203", f"{what} must be a short vector, not of shape {list(array.shape)}")
        return tuple(int(element) for element in array.reshape(-1))

    def scalar_operand(self, index: int, what: str) -> float:
        """The one element of a constant operand; CompileError FX203, FX206."""
        array = self.constant_operand(index, what)
        if array.size != 1:
            raise self.error("FX203", f"{what} must be one number, not of shape {list(array.shape)}")
        return float(array.reshape(-1)[0])

    # Attributes.

    def has(self, name: str) -> bool:
        """Whether the node gives the attribute (which stays unread)."""
        return name in self._attributes

    def ignore(self, *names: str) -> None:
        """Marks attributes that have no meaning for inference as read."""
        self._unread_attributes.difference_update(names)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; CompileError FX202 where it is missing or of another type."""
        return self._attribute(name, onnx.AttributeProto.INT, lambda found: int(found.i), default)

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute that is 0 or 1."""
        value = self.integer(name, int(default))
        if value not in (0, 1):
            raise self.error("FX202", f"attribute '{name}' is {value}, but may be 0 or 1")
        return bool(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A float attribute, rounded to fp32 as the file holds it."""
        value = self._attribute(name, onnx.AttributeProto.FLOAT, lambda found: float(found.f), default)
        if not isfinite(value):
            raise self.error("FX202", f"attribute '{name}' is {value}")
        return value

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of floats."""
        return self._attribute(
            name, onnx.AttributeProto.FLOATS, lambda found: tuple(float(value) for value in found.floats)
        )

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of integers."""
        fallback = None if default is None else tuple(default)
        return self._attribute(
            name, onnx.AttributeProto.INTS, lambda found: tuple(int(value) for value in found.ints), fallback
        )

    def text(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """A string attribute that is one of ``choices``; CompileError FX205 for another."""
        value = self._attribute(
            name, onnx.AttributeProto.STRING, lambda found: found.s.decode("utf-8", "replace"), default
        )
        if value not in choices:
            raise self.error(
                "FX205",
                f"attribute '{name}' is '{value}', which is not supported",
                hint=f"supported: {', '.join(choices)}",
            )
        return value

    def tensor(self, name: str) -> Array:
        """A tensor attribute, decoded; errors as :func:`flexc.importer.tensors.decode`."""
        proto = self._attribute(name, onnx.AttributeProto.TENSOR, lambda found: found.t)
        if not proto.name:
            proto.name = self._result_name
        return decode(proto, self._folder, self.place)

    def _attribute(
        self, name: str, kind: int, read: Callable[[onnx.AttributeProto], T], default: T | None = None
    ) -> T:
        self._unread_attributes.discard(name)
        found = self._attributes.get(name)
        if found is None:
            if default is None:
                raise self.error("FX202", f"attribute '{name}' is missing")
            return default
        if found.type != kind:
            raise self.error("FX202", f"attribute '{name}' is not {_KINDS[kind]}")
        return read(found)

    def require_all_read(self) -> None:
        """CompileError FX202 or FX204 for attributes and operands that nothing has looked at."""
        if self._unread_attributes:
            names = ", ".join(f"'{name}'" for name in sorted(self._unread_attributes))
            raise self.error("FX202", f"{self.op_type} has no attribute {names} in opset {self.opset}")
        if self._unread_operands:
            raise self.error("FX204", f"{self.op_type} takes no input {min(self._unread_operands)}")

    # Results.

    def inner_name(self, part: str) -> str:
        """The name of an intermediate result."""
        return f"{self._result_name}_{part}"

    def emit(self, op: type[TensorOp], *operands: Operand, name: str = "", **keywords: Keyword) -> Value:
        """The result of an op (see :meth:`GraphBuilder.emit`), named after the node's first output."""
        return self._builder.emit(op, operands, keywords, name=name or self._result_name, place=self.place)

    def next_dropout(self) -> int:
        """The number of a new dropout of the model, from 0 up."""
        return self._builder.next_dropout()

    def constant(self, array: Array, name: str = "") -> Value:
        """A value that is known."""
        return Value.constant(name or self._result_name, array)

    def error(self, code: str, message: str, *, detail: str = "", hint: str = "") -> CompileError:
        """A CompileError that points at the node and, without other detail, shows its operands."""
        shown = " x ".join("none" if each is None else each.describe() for each in self._operands)
        return error(
            code, message, place=self.place, detail=detail or (shown and f"value {shown}"), hint=hint
        )

    def refused(self, refusal: ShapeError) -> CompileError:
        """The error for a shape rule that refused the node's operands."""
        return self.error("FX203", refusal.message, hint=refusal.hint)
