"""Follow a run with fp32 contractions op by op: each kernel on the values that the run itself went on with.

Where fp32 contractions add in another order rounding differs, and quantizers and sums that cancel make much
of a little. Op by op nothing adds up: each is held against its kernel's result for the same operands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc import numerics
from flexc.backends.agreement import Agreement, Difference, difference_at, first_difference, range_difference
from flexc.backends.fp32_sums import difference_bound
from flexc.backends.ranges import BlockRange, Range, quantized_range, range_through
from flexc.ir import bfp, nn
from flexc.ir.kernel_calls import KernelCall, kernel_call
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.numerics import BlockTensor

Array: TypeAlias = npt.NDArray[Any]


class _Unknown:
    """A value that the run does not hold and that no sound range bounds."""


Known: TypeAlias = Array | BlockTensor
State: TypeAlias = Known | Range | BlockRange | _Unknown
UNKNOWN = _Unknown()


def follow(
    graph: Graph, inputs: Mapping[str, Array], tensors: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Agreement:
    """Holds every tensor of a run against the graph's kernels on the operands that the run held.

    ``tensors`` are intermediates by the names of their values (``name.mantissa`` and ``name.exponent`` if
    quantized), ``outputs`` the outputs by name. What no fp32 contraction touched since the values that the
    run held must be equal in bytes; a contraction has the bound of :func:`difference_bound`, and what is
    computed from it without being held in between the range of :func:`range_through`, in the order of
    values. What has no such range is counted as not compared, and followed from there. Stops at the first
    difference; its executor's value is the kernel's, or the nearer end of the range.
    """
    return _Follower(graph, tensors, outputs).run(inputs)


Run: TypeAlias = tuple[Mapping[str, Array], Mapping[str, Array]]
"""The intermediates and the outputs of a run, by name."""


def follow_both(graph: Graph, inputs: Mapping[str, Array], executor: Run, stream: Run) -> Agreement:
    """Follows the stream, and the executor through the same tensors; the difference is of either."""
    found = follow(graph, inputs, *stream)
    if found.difference is not None:
        return found
    same = {name: array for name, array in executor[0].items() if name in stream[0]}
    own = follow(graph, inputs, same, executor[1]).difference
    if own is None:
        return found
    kind = 1 if own.tensor in executor[1] else 0
    values = (executor[kind][own.tensor], stream[kind][own.tensor])
    return replace(found, difference=difference_at(own.tensor, own.index, *values))


@dataclass
class _Found:
    compared: list[str] = field(default_factory=list)
    bounded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class _Follower:
    def __init__(self, graph: Graph, tensors: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self.graph = graph
        self.tensors = tensors
        self.outputs = outputs
        self.names = value_names(graph.main)
        self.states: dict[SSAValue, State] = {}
        self.found = _Found()

    def run(self, inputs: Mapping[str, Array]) -> Agreement:
        """All ops in order, then the outputs."""
        block = self.graph.main.body.block
        for argument, name in zip(block.args, self.graph.input_names, strict=True):
            self.states[argument] = inputs[name]
        last_use = {value: op for op in block.ops for value in (*op.results, *op.operands)}
        held_as = self._outputs_by_value()
        for op in block.ops:
            if isinstance(op, ReturnOp):
                break
            for value, state in zip(op.results, self._computed(op), strict=True):
                difference = self._hold(value, state, held_as.get(value, ()))
                if difference is not None:
                    return self._agreement(difference)
            for value in {*op.operands, *op.results}:
                if last_use[value] is op:
                    del self.states[value]
        for value in block.args:
            for name in held_as.get(value, ()):
                difference = self._compare(name, self.states[value], self.outputs[name])
                if difference is not None:
                    return self._agreement(difference)
        return self._agreement(None)

    def _outputs_by_value(self) -> dict[SSAValue, list[str]]:
        last = self.graph.main.body.block.last_op
        assert isinstance(last, ReturnOp)
        found: dict[SSAValue, list[str]] = {}
        for name, value in zip(self.graph.output_names, last.operands, strict=True):
            found.setdefault(value, []).append(name)
        return found

    def _computed(self, op: Operation) -> tuple[State, ...]:
        """The states of an op's results, from those of its operands."""
        if isinstance(op, nn.ConstantOp):
            return (self.graph.weights.get(op.key.data),)
        if isinstance(op, bfp.ConstantOp):
            assert isinstance(op.out.type, bfp.BlockTensorType)
            return (self.graph.weights.block(op.key.data, op.out.type),)
        call = kernel_call(op)
        operands = [None if operand is None else self.states[operand] for operand in call.operands]
        unknown: tuple[State, ...] = (UNKNOWN,) * len(op.results)
        if any(isinstance(operand, _Unknown | BlockRange) for operand in operands):
            return unknown
        if any(isinstance(operand, Range) for operand in operands):
            if len(op.results) > 1:
                return unknown
            through = quantized_range if isinstance(op, bfp.QuantizeOp) else range_through
            found = through(call, operands)
            return unknown if found is None else (found,)
        result = _apply(call, operands)
        if isinstance(op, nn.CONTRACTIONS):
            return (_around(result, difference_bound(op, call, operands)),)
        return (result,) if len(op.results) == 1 else tuple(result)

    def _hold(self, value: SSAValue, state: State, outputs: list[str] | tuple[()]) -> Difference | None:
        """Compares what the run holds of ``value``, and goes on with it."""
        self.states[value] = state
        if isinstance(value.owner, nn.ConstantOp | bfp.ConstantOp):
            names: list[str] = []
        else:
            names = [self.names[value]]
        for name, source in [(n, self.tensors) for n in names] + [(n, self.outputs) for n in outputs]:
            planes = _planes(name, value, self.states[value])
            if not planes.keys() <= source.keys():
                continue
            for plane, expected in planes.items():
                difference = self._compare(plane, expected, source[plane])
                if difference is not None:
                    return difference
            self.states[value] = _held(value, [source[plane] for plane in planes])
        return None

    def _compare(self, name: str, expected: State, held: Array) -> Difference | None:
        match expected:
            case _Unknown():
                self.found.skipped.append(name)
                return None
            case Range():
                self.found.bounded.append(name)
                return range_difference(name, expected.least, expected.largest, held)
            case BlockTensor() | BlockRange():
                raise ValueError(f"'{name}' is compared plane by plane")
            case _:
                self.found.compared.append(name)
                return first_difference(name, np.asarray(expected), held)

    def _agreement(self, difference: Difference | None) -> Agreement:
        found = self.found
        return Agreement(tuple(found.compared), difference, tuple(found.bounded), tuple(found.skipped))


def _apply(call: KernelCall, operands: list[Any]) -> Any:
    result = getattr(numerics, call.function)(*operands, **dict(call.keywords))
    if call.activation is None:
        return result
    name, keywords = call.activation
    return getattr(numerics, name)(result, **dict(keywords))


def _around(result: Array, bound: Array) -> State:
    """The range within ``bound`` of a contraction's result, ends rounded outwards."""
    centre = result.astype(np.float64)
    with np.errstate(all="ignore"):
        least = np.nextafter((centre - bound).astype(np.float32), np.float32(-np.inf))
        largest = np.nextafter((centre + bound).astype(np.float32), np.float32(np.inf))
    return Range(least, largest) if np.isfinite(least).all() and np.isfinite(largest).all() else UNKNOWN


def _planes(name: str, value: SSAValue, state: State) -> dict[str, State]:
    """The arrays that hold ``value``, and what each is compared with."""
    if not isinstance(value.type, bfp.BlockTensorType):
        return {name: state}
    mantissa, exponent = f"{name}.mantissa", f"{name}.exponent"
    if isinstance(state, BlockTensor):
        return {mantissa: state.mantissa, exponent: state.exponent}
    if isinstance(state, BlockRange):
        return {mantissa: state.mantissa or UNKNOWN, exponent: state.exponent}
    return {mantissa: UNKNOWN, exponent: UNKNOWN}


def _held(value: SSAValue, arrays: list[Array]) -> Known:
    """The value that a run holds in the arrays of :func:`_planes`."""
    if not isinstance(value.type, bfp.BlockTensorType):
        return arrays[0]
    return BlockTensor.from_planes(arrays[0], arrays[1], value.type.format, value.type.get_tile())
