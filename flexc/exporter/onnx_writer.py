"""Names, nodes and initializers of an ONNX graph in the making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from xdsl.ir import SSAValue

from flexc.ir.shapes import Shape
from flexc.ir.tensor_op import spec_of

OPSET = 20
IR_VERSION = 9
BATCH = "batch"
ELEMENT_TYPES = {
    "f32": TensorProto.FLOAT,
    "i64": TensorProto.INT64,
    "i32": TensorProto.INT32,
    "i1": TensorProto.BOOL,
}


class OnnxWriter:
    """Takes ops in order; ``names`` holds the name of each value that is known."""

    def __init__(self, names: dict[SSAValue, str], open_batch: int | None) -> None:
        """``open_batch``: the first extent that is left open in shapes, None for fixed shapes."""
        self._names = names
        self._taken = set(names.values())
        self._open_batch = open_batch
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def name_of(self, value: SSAValue) -> str:
        """The name of a value."""
        return self._names[value]

    def shape_constant(self, operand: SSAValue, shape: Shape, near: str) -> str:
        """A shape as an operand of Reshape: 0 in front keeps the batch open that ``operand`` has in front."""
        batch = self._open_batch
        keeps = batch is not None and shape[:1] == (batch,) and spec_of(operand.type).shape[:1] == (batch,)
        return self.integers([0, *shape[1:]] if keeps else shape, f"{near}.shape")

    def integers(self, values: Sequence[int], name: str) -> str:
        """An initializer of int64."""
        return self.initializer(np.asarray(values, np.int64), name)

    def scalar(self, value: float, name: str) -> str:
        """An initializer of fp32 and rank 0."""
        return self.initializer(np.asarray(value, np.float32), name)

    def initializer(self, array: npt.NDArray[Any], name: str) -> str:
        """An initializer under ``name``, or the next free name like it."""
        free = self._free(name)
        self._initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), free))
        return free

    def constant(self, value: SSAValue, array: npt.NDArray[Any], key: str) -> None:
        """The initializer that ``value`` stands for; it takes the name of its key."""
        self._names[value] = self.initializer(array, key)

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """A node of one output."""
        self._nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))

    def intermediate(self, name: str) -> str:
        """A free name like ``name`` for a value between two nodes of one op."""
        return self._free(name)

    def model(
        self,
        name: str,
        inputs: Mapping[str, SSAValue],
        outputs: Mapping[str, SSAValue],
        functions: Sequence[onnx.FunctionProto] = (),
    ) -> onnx.ModelProto:
        """The finished model, with the functions that its nodes call.

        Initializers that nothing reads are left out: onnxruntime warns of each.
        """
        read = {name for node in self._nodes for name in node.input} | set(outputs)
        graph = helper.make_graph(
            self._nodes,
            name,
            [self._info(*item) for item in inputs.items()],
            [self._info(*item) for item in outputs.items()],
            [one for one in self._initializers if one.name in read],
        )
        return helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                *(helper.make_opsetid(domain, 1) for domain in sorted({one.domain for one in functions})),
            ],
            functions=functions,
            ir_version=IR_VERSION,
            producer_name="flexc",
        )

    def _info(self, name: str, value: SSAValue) -> onnx.ValueInfoProto:
        spec = spec_of(value.type)
        shape: list[int | str] = list(spec.shape)
        if shape and shape[0] == self._open_batch:
            shape[0] = BATCH
        return helper.make_tensor_value_info(name, ELEMENT_TYPES[spec.element], shape)

    def _free(self, name: str) -> str:
        candidate, number = name, 0
        while candidate in self._taken:
            number += 1
            candidate = f"{name}.{number}"
        self._taken.add(candidate)
        return candidate
