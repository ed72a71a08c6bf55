"""ONNX models computed in double precision, and slopes of functions by central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erf, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array: TypeAlias = npt.NDArray[Any]
Float64Array: TypeAlias = npt.NDArray[np.float64]
WIDTH = 1e-5
"""Of a central difference: its own error is near 1e-10 of the function, that of rounding near 1e-11."""


class Erf(OpRun):
    """In the precision of its operand, where onnx's own returns fp32."""

    def _run(self, x: Array) -> tuple[Array]:
        return (_erf(x),)


class Gelu(OpRun):
    """As Erf: onnx spells it by that."""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            return (x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2,)
        return (x * (1 + _erf(x / sqrt(2))) / 2,)


class Pad(OpRun):
    """With negative pads too, which cut, where onnx's own takes none."""

    def _run(self, x: Array, pads: Array, value: Any = None, mode: str = "constant") -> tuple[Array]:
        begins, ends = pads.reshape(2, -1)
        cut = zip(np.maximum(-begins, 0), x.shape - np.maximum(-ends, 0), strict=True)
        kept = x[tuple(slice(*bounds) for bounds in cut)]
        added = list(zip(np.maximum(begins, 0), np.maximum(ends, 0), strict=True))
        if mode == "constant":
            return (np.pad(kept, added, constant_values=value),)
        return (np.pad(kept, added, mode="reflect" if mode == "reflect" else "edge"),)


def _erf(x: Array) -> Array:
    found: Array = np.vectorize(erf, otypes=[x.dtype])(x)
    return found


def in_double(model: onnx.ModelProto) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """A function from inputs to outputs by name: ``model`` with double for fp32 throughout."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    for initializer in wider.graph.initializer:
        if initializer.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(initializer).astype(np.float64)
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    for node in wider.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(wider, new_ops=[Erf, Gelu, Pad])
    names = [output.name for output in model.graph.output]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        given = {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in inputs.items()}
        return dict(zip(names, evaluator.run(None, given), strict=True))

    return run


def slopes(function: Callable[..., float], at: Sequence[Array]) -> list[Float64Array]:
    """The gradient of ``function`` of arrays, element by element, at the point ``at``."""
    point = [np.array(x, np.float64) for x in at]
    found = [np.zeros_like(x) for x in point]
    for x, slope in zip(point, found, strict=True):
        for index in np.ndindex(x.shape):
            middle, moved = x[index], []
            for sign in (1, -1):
                x[index] = middle + sign * WIDTH
                moved.append(function(*point))
            x[index] = middle
            slope[index] = (moved[0] - moved[1]) / (2 * WIDTH)
    return found
