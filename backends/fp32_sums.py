"""How far two fp32 contractions of the same operands may lie apart, whatever order each adds in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation

from flexc import numerics
from flexc.ir import nn
from flexc.ir.kernel_calls import KernelCall
from flexc.ir.tensor_op import spec_of

Array: TypeAlias = npt.NDArray[Any]

UNIT_ROUNDOFF = 2.0**-24
LEAST_SUBNORMAL = 2.0**-149


def reduced_terms(op: Operation) -> int:
    """How many products an element of an fp32 contraction sums, a bias counted as one."""
    match op:
        case nn.ConvOp():
            count = math.prod(spec_of(op.w.type).shape[1:])
        case nn.MatMulOp():
            count = spec_of(op.a.type).shape[-1]
        case nn.ConvLocalGradOp():
            shape = spec_of(op.operands[1].type).shape
            count = math.prod(shape) // shape[1]
        case nn.ConvWeightGradOp():
            shape = spec_of(op.operands[0].type).shape
            count = math.prod(shape) // shape[1]
        case _:
            raise ValueError(f"{op.name} is no fp32 contraction")
    return count + (len(op.operands) > 2)


def difference_bound(op: Operation, call: KernelCall, operands: Sequence[Any]) -> Array:
    """For each element, how far apart two results of ``op`` on the same operands may be, in fp64.

    2 u m times the contraction of the operands' magnitudes, u = 2^-24, for sums of n terms; m is n + 2, the
    worst that any order does, or 8 sqrt(n), which roundings that do not conspire stay below, if that is
    less. Products may also be lost below the least subnormal number.
    """
    terms = reduced_terms(op)
    magnitudes = [None if operand is None else np.abs(operand) for operand in operands]
    total = getattr(numerics, call.function)(*magnitudes, **dict(call.keywords))
    share = 2 * UNIT_ROUNDOFF * min(terms + 2, 8 * math.sqrt(terms))
    bound: Array = total.astype(np.float64) * share + 2 * terms * LEAST_SUBNORMAL
    return bound
