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
    is_checked: bool = False
    """Whether its elements are known to be finite."""

    @classmethod
    def constant(cls, name: str, array: Array, *, is_checked: bool = False) -> Value:
        """A value whose elements are known."""
        spec = TensorSpec(tuple(array.shape), ELEMENT_OF_TYPE[array.dtype])
        return cls(name, spec, array, is_checked=is_checked)

    def describe(self) -> str:
        """``'name' [shape]``, for messages."""
        return f"'{self.name}' {self.spec}"
