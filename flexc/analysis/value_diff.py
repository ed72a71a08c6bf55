"""The first bit in which two artefacts compute something else from the same inputs.

Tensors meet by name: weights by their key, results by their variable, and quantized tensors by what they are
made of and the axes their groups run along, so that eight-bit and four-bit mantissas of one tensor meet.
Quantized tensors are compared by their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from flexc.backends.executor.run import Value, weights_of
from flexc.ir import bfp, nn
from flexc.ir.attributes import SourceAttr
from flexc.ir.value_names import value_names
from flexc.numerics import BlockTensor, dequantize
from flexc.program import Program

Array: TypeAlias = npt.NDArray[Any]
TensorKey: TypeAlias = tuple[str, ...]
MANTISSA_SUFFIX = re.compile(r"\.m\d+(?=$|\.\d+$)")
"""The width in the key of a quantized weight."""


@dataclass(frozen=True)
class Parting:
    """The first element, in row-major order, of the first tensor in which two programs differ.

    ``node`` is the ONNX node that made it, empty for a constant; ``bit`` is the highest that differs, counted
    from the lowest (31 is the sign of an fp32, 30 to 23 its exponent); bits are in hexadecimal.
    """

    tensor: str
    node: str
    index: tuple[int, ...]
    bit: int
    a_value: float
    b_value: float
    a_bits: str
    b_bits: str


@dataclass(frozen=True)
class ValueDifference:
    """Tensors of both programs that were compared, those that only one of them has, and the parting."""

    compared: int
    only_in_one: int
    parting: Parting | None


@dataclass(frozen=True)
class _Tensor:
    position: int
    name: str
    node: str


def value_difference(a: Program, b: Program, inputs: Mapping[str, Array]) -> ValueDifference:
    """Runs both programs on their executors and compares what both compute, in the order in which ``a`` does.

    Raises CompileError FX501 to FX504 for inputs that do not fit both. Tensors of other shapes or elements
    do not meet.
    """
    left, right = dict(_tensors(a)), {tensor.name: key for key, tensor in _tensors(b)}
    own = {tensor.name: key for key, tensor in left.items()}
    kept: dict[TensorKey, Array] = {}
    partings: dict[int, Parting] = {}
    compared = set()
    shared = set(left) & set(right.values())

    def keep(**values: Value) -> None:
        for name, value in values.items():
            if own.get(name) in shared:
                kept[own[name]] = _plain(value)

    def compare(**values: Value) -> None:
        for name, value in values.items():
            key = right.get(name)
            if key is None or key not in kept:
                continue
            expected, found = kept.pop(key), _plain(value)
            if (expected.shape, expected.dtype) != (found.shape, found.dtype):
                continue
            compared.add(key)
            parting = first_parting(left[key].name, left[key].node, expected, found)
            if parting is not None:
                partings[left[key].position] = parting

    keep(**_constants(a))
    a.run(inputs, keep=keep)
    compare(**_constants(b))
    b.run(inputs, keep=compare)
    first = partings[min(partings)] if partings else None
    return ValueDifference(len(compared), len(set(left) | set(right.values())) - len(compared), first)


def first_parting(tensor: str, node: str, a: Array, b: Array) -> Parting | None:
    """Where two arrays of one shape and dtype first differ in a bit; None where they do not."""
    left, right = np.ascontiguousarray(a), np.ascontiguousarray(b)
    unsigned = np.dtype(f"u{left.dtype.itemsize}")
    left_bits, right_bits = left.view(unsigned), right.view(unsigned)
    differs = left_bits != right_bits
    if not differs.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(differs.argmax()), left.shape))
    one, other = int(left_bits[index]), int(right_bits[index])
    digits = 2 * left.dtype.itemsize
    return Parting(
        tensor,
        node,
        index,
        (one ^ other).bit_length() - 1,
        float(left[index]),
        float(right[index]),
        f"{one:0{digits}x}",
        f"{other:0{digits}x}",
    )


def _plain(value: Value) -> Array:
    return dequantize(value) if isinstance(value, BlockTensor) else np.asarray(value)


def _constants(program: Program) -> dict[str, Value]:
    return {f"w[{key}]": value for key, value in weights_of(program.graph).items()}


def _tensors(program: Program) -> Iterator[tuple[TensorKey, _Tensor]]:
    """What each tensor meets its counterpart by, in the order of execution; constants at their first use."""
    names = value_names(program.graph.main)
    seen: set[SSAValue] = set()
    position = 0
    for op in program.graph.main.body.block.ops:
        if isinstance(op, nn.ConstantOp | bfp.ConstantOp):
            continue
        source = op.attributes.get("source")
        node = str(source.node_name.data) if isinstance(source, SourceAttr) else ""
        for value in op.operands:
            if value in seen or not isinstance(value.owner, nn.ConstantOp | bfp.ConstantOp):
                continue
            seen.add(value)
            key = value.owner.key.data
            yield ("constant", MANTISSA_SUFFIX.sub("", key)), _Tensor(position, f"w[{key}]", "")
            position += 1
        for result in op.results:
            name = names[result]
            yield _key(op, name, names), _Tensor(position, name, node)
            position += 1


def _key(op: object, name: str, names: Mapping[SSAValue, str]) -> TensorKey:
    if not isinstance(op, bfp.QuantizeOp):
        return ("result", name)
    kind = op.out.type
    assert isinstance(kind, bfp.BlockTensorType)
    axes = (str(axis) for axis, extent in enumerate(kind.get_tile()) if extent > 1)
    return ("quantized", names[op.x], *axes)
