"""Adding ops at the end of a function: result types by the ops' rules, sources and names carried along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute, Operation, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import Literal, attribute_of
from flexc.ir.program import Graph
from flexc.ir.shapes import Shape, TensorSpec
from flexc.ir.tensor_op import TensorOp, spec_of, tensor_type
from flexc.ir.train import ROLE, RoleAttr
from flexc.passes.building import insert_before, insert_constant


class Builder:
    """Puts ops in front of ``end``, the op that returns."""

    def __init__(self, graph: Graph, end: Operation) -> None:
        self.graph = graph
        self._end = end
        self._scalars: dict[float, SSAValue] = {}
        self._source: Attribute | None = None
        self._hint: str | None = None

    @contextmanager
    def on_behalf_of(self, op: Operation | None, hint: str | None) -> Iterator[None]:
        """Ops made inside have the source of ``op``, and ``hint`` for a name."""
        before = self._source, self._hint
        self._source = None if op is None else op.attributes.get("source")
        self._hint = hint
        yield
        self._source, self._hint = before

    def op(
        self,
        op_class: type[TensorOp],
        *operands: SSAValue,
        result: TensorSpec | None = None,
        role: RoleAttr | None = None,
        **attributes: Literal,
    ) -> SSAValue:
        """The result of a new op; ``result`` is its type where the rule needs to be told."""
        (value,) = self.ops(op_class, *operands, result=result, role=role, **attributes)
        return value

    def ops(
        self,
        op_class: type[TensorOp],
        *operands: SSAValue,
        result: TensorSpec | None = None,
        role: RoleAttr | None = None,
        **attributes: Literal,
    ) -> tuple[SSAValue, ...]:
        """The results of a new op."""
        specs = result or op_class.RULE(*(spec_of(operand.type) for operand in operands), **attributes)
        given = {name: attribute_of(value) for name, value in attributes.items()}
        if self._source is not None:
            given["source"] = self._source
        if role is not None:
            given[ROLE] = role
        types = [tensor_type(spec) for spec in (specs if isinstance(specs, tuple) else (specs,))]
        made = op_class.create(operands=operands, result_types=types, attributes=given)
        for value in made.results:
            value.name_hint = self._hint
        block = self._end.parent
        assert block is not None
        block.insert_op_before(made, self._end)
        return tuple(made.results)

    def copy(self, op: TensorOp, op_class: type[TensorOp], *operands: SSAValue, shape: Shape) -> SSAValue:
        """``op_class`` with the attributes of ``op`` and a result of ``shape``."""
        names = op_class.get_irdl_definition().attributes
        given = {name: one for name, one in op.attributes.items() if name in names}
        result_type = tensor_type(TensorSpec(shape))
        return insert_before(self._end, op_class, operands, result_type, given, name_hint=self._hint).results[
            0
        ]

    def scalar(self, value: float) -> SSAValue:
        """A constant of rank 0, one for each value."""
        if value not in self._scalars:
            self._scalars[value] = self.constant(np.float32(value), "scalar")
        return self._scalars[value]

    def constant(self, array: NDArray[np.generic] | np.generic, key: str) -> SSAValue:
        """A constant, stored under ``key`` or the next free one like it."""
        made = insert_constant(self._end, self.graph, np.asarray(array), key).out
        made.name_hint = key
        return made

    def sum_to(self, value: SSAValue, shape: Shape) -> SSAValue:
        """What broadcasting from ``shape`` repeated, added up again by lane sums."""
        found = shape_of(value)
        if found == shape:
            return value
        added = len(found) - len(shape)
        axes = tuple(
            axis
            for axis, extent in enumerate(found)
            if axis < added or (shape[axis - added] == 1 and extent != 1)
        )
        summed = self.op(nn.ReduceSumOp, value, axes=axes, keepdims=False) if axes else value
        return self.reshape(summed, shape)

    def reshape(self, value: SSAValue, shape: Shape) -> SSAValue:
        """The elements of ``value`` in another shape."""
        if shape_of(value) == shape:
            return value
        return self.op(nn.ReshapeOp, value, result=TensorSpec(shape, spec_of(value.type).element))

    def expand(self, value: SSAValue, shape: Shape) -> SSAValue:
        """``value`` broadcast to ``shape``."""
        return value if shape_of(value) == shape else self.op(nn.ExpandOp, value, result=TensorSpec(shape))

    def cast(self, value: SSAValue) -> SSAValue:
        """``value`` in fp32."""
        return self.op(nn.CastOp, value, result=TensorSpec(shape_of(value)))


def shape_of(value: SSAValue) -> Shape:
    """The shape of a tensor."""
    return spec_of(value.type).shape
