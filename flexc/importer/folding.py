"""Computing an op at import when its operands are known, with the kernel that would compute it later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import StringAttr

from flexc import numerics
from flexc.importer.limits import FOLDED_ELEMENTS
from flexc.importer.tensors import NUMPY_TYPES, Array
from flexc.ir import nn, train
from flexc.ir.kernel_calls import KernelCall, kernel_call
from flexc.ir.shapes import TensorSpec
from flexc.ir.tensor_op import TensorOp, tensor_type

_VIEWS: tuple[type[TensorOp], ...] = (nn.ReshapeOp, nn.TransposeOp, nn.SliceOp, nn.ExpandOp)
"""Ops whose result shares the elements of its operand, whatever its size."""


def is_foldable(op: type[TensorOp], operands: Sequence[Array | None], result: TensorSpec) -> bool:
    """Whether an op is to be computed at import: all operands known, and small or only viewed.

    Dropouts are not: their masks change from step to step.
    """
    if op is train.DropoutOp or any(operand is None for operand in operands):
        return False
    known = [operand for operand in operands if operand is not None]
    if max(result.size, *(operand.size for operand in known)) <= FOLDED_ELEMENTS:
        return True
    return op in _VIEWS and (op is not nn.ReshapeOp or known[0].flags.c_contiguous)


def stand_in(spec: TensorSpec) -> nn.ConstantOp:
    """A constant outside the module: an operand for an op that is only asked for its kernel."""
    return nn.ConstantOp.build(attributes={"key": StringAttr("")}, result_types=[tensor_type(spec)])


def evaluate(op: TensorOp, result: TensorSpec, arrays: Sequence[Array]) -> Array:
    """What ``op`` makes of the arrays of its operands, in order.

    Raises what its kernel raises: IndexError, ZeroDivisionError.
    """
    call: KernelCall = kernel_call(op)
    elements = dict(zip(op.operands, arrays, strict=True))
    kernel = getattr(numerics, call.function)
    operands = [None if operand is None else elements[operand] for operand in call.operands]
    return np.asarray(kernel(*operands, **dict(call.keywords))).astype(
        NUMPY_TYPES[result.element], copy=False
    )
