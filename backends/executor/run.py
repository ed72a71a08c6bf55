"""Run an emitted program in this process: the text is compiled once, its weights are kept."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flexc.backends.executor.emit import Step
from flexc.diagnostics import CompileError, Place, error
from flexc.ir import bfp, nn
from flexc.ir.program import Graph
from flexc.numerics import BlockTensor, NonFiniteError

Array = npt.NDArray[Any]
Value = Array | BlockTensor


class Keep(Protocol):
    """What a program hands its intermediates to: variables of one node and their values."""

    def __call__(self, /, **values: Value) -> None: ...


class Kept:
    """A :class:`Keep` that collects arrays; a quantized value is ``name.mantissa`` and ``name.exponent``."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def __call__(self, /, **values: Value) -> None:
        for name, value in values.items():
            if isinstance(value, BlockTensor):
                self.arrays[f"{name}.mantissa"] = value.mantissa
                self.arrays[f"{name}.exponent"] = value.exponent
            else:
                self.arrays[name] = value


class Executable:
    """A program's ``run`` function; ``file`` is the path of executor.py, or any name where there is none."""

    def __init__(self, text: str, file: str, weights: Mapping[str, Value] | None = None) -> None:
        """``weights`` by key; without them the program reads weights.safetensors beside ``file``."""
        self._file = file
        self._weights = weights
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        namespace: dict[str, Any] = {"__name__": "flexc_executor", "__file__": file}
        exec(compile(text, file, "exec"), namespace)
        self._run: Callable[..., dict[str, Array]] = namespace["run"]

    def run(self, inputs: Mapping[str, Array], keep: Keep | None = None) -> dict[str, Array]:
        """The outputs by name, from inputs that :func:`flexc.tensor_spec.check_inputs` passed.

        They are the caller's: contiguous copies that share nothing with inputs and weights.

        Raises :class:`NonFiniteError`; :func:`explain` makes it the user's.
        """
        more: dict[str, Any] = {} if keep is None else {"keep": keep}
        outputs = self._run(inputs, self._weights, **more)
        return {name: np.array(value, order="C") for name, value in outputs.items()}

    def line_of(self, failure: BaseException) -> int | None:
        """The line of the program that ``failure`` passed through."""
        trace: TracebackType | None = failure.__traceback__
        found = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._file:
                found = trace.tb_lineno
            trace = trace.tb_next
        return found


def explain(failure: NonFiniteError, step: Step | None, file: str) -> CompileError:
    """The user's error for a NaN or an infinity that the statement ``step`` met in the model ``file``."""
    place = Place(file)
    if step is not None and step.source is not None:
        source = step.source
        place = Place(file, source.node_name.data, source.op_type.data, source.node_index.data)
    variable = "" if step is None else f" that computes '{step.variable}'"
    return error(
        "FX601",
        f"{failure.op}{variable} met a NaN or an infinity",
        place=place,
        detail=f"tensor '{failure.tensor}' at index {list(failure.index)}",
        hint="look for a NaN in the inputs, or for an overflow before this node with --profile fp32",
    )


def weights_of(graph: Graph) -> dict[str, Value]:
    """Every constant of the graph by key, quantized ones as block tensors."""
    found: dict[str, Value] = {}
    for op in graph.main.body.block.ops:
        if isinstance(op, nn.ConstantOp):
            found[op.key.data] = graph.weights.get(op.key.data)
        elif isinstance(op, bfp.ConstantOp):
            assert isinstance(op.out.type, bfp.BlockTensorType)
            found[op.key.data] = graph.weights.block(op.key.data, op.out.type)
    return found
