"""Making ops that stand for others: sources and value names carry over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import StringAttr, TensorType, f32, i1, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation

from flexc.ir import nn
from flexc.ir.program import Graph, carried_names

OpT = TypeVar("OpT", bound=IRDLOperation)

ELEMENT_DTYPES: dict[Attribute, np.dtype[np.generic]] = {
    f32: np.dtype(np.float32),
    i64: np.dtype(np.int64),
    i32: np.dtype(np.int32),
    i1: np.dtype(np.bool_),
}
_ELEMENT_TYPES = {dtype: element for element, dtype in ELEMENT_DTYPES.items()}


def insert_before(
    op: Operation,
    op_class: type[OpT],
    operands: Sequence[SSAValue],
    result_type: Attribute,
    attributes: Mapping[str, Attribute] | None = None,
    *,
    name_hint: str | None = None,
) -> OpT:
    """A new op in front of ``op``, with its source unless ``attributes`` bring another."""
    carried = {} if attributes is None else dict(attributes)
    source = op.attributes.get("source")
    if source is not None:
        carried.setdefault("source", source)
    made = op_class.create(operands=operands, result_types=(result_type,), attributes=carried)
    made.results[0].name_hint = name_hint
    block = op.parent
    assert block is not None
    block.insert_op_before(made, op)
    return made


def replace(op: Operation, value: SSAValue) -> None:
    """Puts ``value`` in the place of the only result of ``op`` and erases ``op``.

    A value without a name takes that of the result.
    """
    (result,) = op.results
    if value.name_hint is None:
        value.name_hint = result.name_hint
    result.replace_all_uses_with(value)
    erase(op)


def erase(op: Operation) -> None:
    """Takes an op whose results have no uses out of its block, for good."""
    block = op.parent
    assert block is not None
    block.erase_op(op)


def only_user(value: SSAValue) -> Operation | None:
    """The op that makes the one use of ``value``, or None if there are none or several uses."""
    return value.get_user_of_unique_use()


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The shape of a tensor."""
    assert isinstance(value.type, TensorType)
    return tuple(value.type.get_shape())


def constant_array(graph: Graph, value: SSAValue) -> NDArray[np.generic] | None:
    """The array behind ``value``, if that is a constant and the store has it."""
    owner = value.owner
    if not isinstance(owner, nn.ConstantOp) or owner.key.data not in graph.weights:
        return None
    return graph.weights.get(owner.key.data)


def constant_scalar(graph: Graph, value: SSAValue) -> float | None:
    """The number behind a constant of one element, if the store has it."""
    array = constant_array(graph, value)
    return None if array is None or array.size != 1 else float(array.reshape(())[()])


def insert_constant(op: Operation, graph: Graph, array: NDArray[np.generic], key: str) -> nn.ConstantOp:
    """A constant of ``array`` in front of ``op``, stored under ``key`` or the next free one like it."""
    stored = graph.weights.add(key, array)
    result_type = TensorType(_ELEMENT_TYPES[array.dtype], array.shape)
    return insert_before(op, nn.ConstantOp, (), result_type, {"key": StringAttr(stored)})


def constant_keys(graph: Graph) -> set[str]:
    """The keys that the constants of the IR name, quantized ones too, and those of what a step carries."""
    found = (op.attributes.get("key") for op in graph.main.body.block.ops)
    return {key.data for key in found if isinstance(key, StringAttr)}.union(carried_names(graph.main))
