"""How kernels are compiled, and the bits of fp32 in them.

One thread, and no fast mathematics: nothing is contracted into a fused multiply-add or put in another order,
so a kernel rounds where its text does. Indices that a loop computes are of type ``UINT``: the compiler then
knows that they do not count from the end, and uses vectors. Compiled code is kept beside its module or, where
that cannot be written, in the user's cache. A change of a module makes numba compile its kernels again, but
not those of other modules, so what they share is here, and short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
UINT = np.uint64


def kernel(function: Function) -> Function:
    """Compile a function at its first call; integer operands of other than 64 bits need casts of results."""
    compiled: Function
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # There is nowhere to keep it.
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


def part(function: Function) -> Function:
    """A function that kernels of the same module are made of."""
    inlined: Function = numba.njit(inline="always", error_model="numpy")(function)
    return inlined


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of kernels whose machine code ``function``, given the types, says how to emit."""
    known: Callable[..., Any] = intrinsic(function)
    return known


@emitted
def bits_of(_typing: Any, _x: Any) -> Any:
    """The bits of an fp32, as int32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@emitted
def fp32_of(_typing: Any, _bits: Any) -> Any:
    """The fp32 of these int32 bits."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate
