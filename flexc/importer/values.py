"""What the importer knows of a model's value."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from flexc.importer.tensors import ELEMENT_OF_TYPE, Array
from flexc.ir.shapes import TensorSpec


@dataclass(eq=False)
class Value:
    """A tensor: its type, its elements where they are known, and its place in the IR once it has one."""

    name: str
    spec: TensorSpec
    array: Array | None = None
    ssa: SSAValue | None = None

    @classmethod
    def constant(cls, name: str, array: Array) -> Value:
        """A value whose elements are known."""
        return cls(name, TensorSpec(tuple(array.shape), ELEMENT_OF_TYPE[array.dtype]), array)

    def describe(self) -> str:
        """``'name' [shape]``, for messages."""
        return f"'{self.name}' {self.spec}"
