"""Computing at compile time what depends on constants alone, by the kernels that the executor runs."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import TensorType
from xdsl.irdl import IRDLOperation

from flexc import numerics
from flexc.ir import nn
from flexc.ir.kernel_calls import KERNEL_CALLS, kernel_call
from flexc.ir.program import Graph
from flexc.passes.building import (
    ELEMENT_DTYPES,
    constant_array,
    insert_constant,
    replace,
    shape_of,
)

UNFOLDED_OPS = frozenset({nn.ConvOp, nn.MatMulOp})
"""fp32 contractions fix no order of summation, and a policy may yet quantize their operands."""
FOLDED_OPS = frozenset(op for op in KERNEL_CALLS if op.name.startswith("nn.")) - UNFOLDED_OPS
MAX_GROWN_ELEMENTS = 1 << 16
"""A result larger than its operands together is stored only up to this size: an expanded scalar is cheap to
compute and dear to keep."""


def fold(op: IRDLOperation, graph: Graph) -> bool:
    """Replaces an op on constants by its value, if the store has theirs."""
    (result,) = op.results
    elements = prod(shape_of(result))
    if elements > max(MAX_GROWN_ELEMENTS, sum(prod(shape_of(operand)) for operand in op.operands)):
        return False
    arrays: list[NDArray[np.generic] | None] = []
    call = kernel_call(op)
    for operand in call.operands:
        array = None if operand is None else constant_array(graph, operand)
        if operand is not None and array is None:
            return False
        arrays.append(array)
    assert isinstance(result.type, TensorType)
    value = np.asarray(getattr(numerics, call.function)(*arrays, **dict(call.keywords)))
    if value.dtype != ELEMENT_DTYPES[result.type.element_type] or value.shape != shape_of(result):
        raise TypeError(f"{op.name}: kernel gives {value.dtype}{list(value.shape)}, the op has {result.type}")
    key = result.name_hint or op.name.removeprefix("nn.")
    replace(op, insert_constant(op, graph, np.asarray(value, order="C"), key).out)
    return True
