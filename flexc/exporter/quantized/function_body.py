"""Bodies of model-local functions in the making, and the library of a model's functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from flexc.exporter.onnx_writer import OPSET
from flexc.ir.shapes import Shape

DOMAIN = "flexc"


@dataclass(frozen=True)
class Operand:
    """What a function is specialized to of an operand: its shape, and the format of a quantized one.

    A quantized tensor is handed on as its values, in fp32.
    """

    shape: Shape
    mantissa_bits: int | None = None
    tile: Shape | None = None


class Body:
    """Nodes of one function; every method that adds one gives the name of its result."""

    def __init__(self, library: FunctionLibrary) -> None:
        self.library = library
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one result."""
        return self.nodes_of(op_type, inputs, 1, domain=domain, **attributes)[0]

    def nodes_of(
        self, op_type: str, inputs: Sequence[str], count: int, *, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node of ``count`` results."""
        outputs = [self._fresh() for _ in range(count)]
        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, domain=domain, **attributes))
        return outputs

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant; equal ones are made once."""
        value = np.asarray(array, dtype)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            tensor = numpy_helper.from_array(np.asarray(value, order="C"))
            self._constants[key] = self.node("Constant", value=tensor)
        return self._constants[key]

    def integers(self, values: Sequence[int]) -> str:
        """A constant list of int64, such as a shape."""
        return self.constant(values, np.int64)

    def call(self, name: str, build: Callable[..., str], *inputs: str) -> str:
        """A call of the function ``name``, which ``build(body, *inputs)`` makes where it is not there yet."""
        return self.node(self.library.define(name, name, len(inputs), build), *inputs, domain=DOMAIN)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """x in another shape."""
        return self.node("Reshape", x, self.integers(shape))

    def slice(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """Elements ``start``, ``start + step``... before ``end`` of one axis."""
        return self.node("Slice", x, *(self.integers([value]) for value in (start, end, axis, step)))

    def pad(self, x: str, begins: Sequence[int], ends: Sequence[int], value: float = 0.0) -> str:
        """x with ``value`` around it; x itself where there is nothing to add."""
        if not any((*begins, *ends)):
            return x
        return self.node("Pad", x, self.integers([*begins, *ends]), self.constant(value))

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"


class FunctionLibrary:
    """The functions of a model: one for each name and whatever it is specialized to."""

    def __init__(self) -> None:
        self.functions: list[onnx.FunctionProto] = []
        self._names: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def define(self, name: str, key: Hashable, inputs: int, build: Callable[..., str]) -> str:
        """The name of the function of ``key``: ``name``, with a number where that is another's.

        ``build(body, *inputs)`` makes the body and gives its result; it is asked once for each key.
        """
        if key not in self._names:
            body = Body(self)
            parameters = [f"x{number}" for number in range(inputs)]
            result = build(body, *parameters)
            free, number = name, 1
            while free in self._taken:
                number += 1
                free = f"{name}_{number}"
            self._taken.add(free)
            self._names[key] = free
            opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
            made = helper.make_function(DOMAIN, free, parameters, [result], body.nodes, opsets)
            self.functions.append(made)
        return self._names[key]
