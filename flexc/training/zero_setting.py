"""Zero-setting errors of a step's operands, measured on the fp32 tensors that it quantizes.

The error of a tensor is that of numerics specification, section 1: among its elements that are not zero, the
share that truncation to its format sets to zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from flexc.backends.executor.run import Value
from flexc.ir import bfp
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.ir.value_names import value_names
from flexc.numerics import zero_setting_error
from flexc.numerics.block_float import GROUP_LENGTH
from flexc.precision.policy import Operand, TrainingPass

Array: TypeAlias = npt.NDArray[Any]


NARROWER = {16: 8, 8: 4}
"""Mantissa bits, and those of the next narrower mode."""


@dataclass(frozen=True)
class ContractionPoint:
    """One of a layer's three contractions."""

    layer: str
    training_pass: TrainingPass


@dataclass(frozen=True)
class Format:
    """Width and tile of a quantization."""

    mantissa_bits: int
    tile: tuple[int, ...]
    sign: str

    def error_of(self, tensor: Array, *, count_zeros: bool = False) -> float:
        """The zero-setting error of an fp32 tensor; ``count_zeros`` as the published emulator defines it."""
        return zero_setting_error(
            tensor,
            mantissa_bits=self.mantissa_bits,
            tile=self.tile,
            sign=self.sign,
            count_zeros=count_zeros,
        )

    def narrower(self) -> Format | None:
        """The next of 16, 8 and 4 bits, with groups of its own length; None below 8 bits and for others.

        A tile that is no group length, such as a whole kernel or a whole axis, stays.
        """
        bits = NARROWER.get(self.mantissa_bits)
        if bits is None:
            return None
        here, there = GROUP_LENGTH[self.mantissa_bits], GROUP_LENGTH[bits]
        return Format(bits, tuple(there if extent == here else extent for extent in self.tile), self.sign)


@dataclass(frozen=True)
class QuantizedOperand:
    """A quantization in the step: the variable it reads, its format, and the operands that it makes."""

    variable: str
    format: Format
    uses: tuple[tuple[ContractionPoint, Operand], ...]


@dataclass(frozen=True)
class MeasuredOperand:
    """An operand and its zero-setting error, and that in the next narrower format if it was asked for."""

    operand: QuantizedOperand
    error: float
    narrower: float | None


def quantized_operands(graph: Graph) -> tuple[QuantizedOperand, ...]:
    """Every quantization of an operand in a training step, in order."""
    names = value_names(graph.main)
    found = []
    for op in graph.main.body.block.ops:
        if isinstance(op, bfp.QuantizeOp) and bfp.OF_RESULT not in op.attributes:
            assert isinstance(op.out.type, bfp.BlockTensorType)
            kind = op.out.type
            block = Format(kind.mantissa_bits.data, kind.get_tile(), kind.sign.data)
            found.append(QuantizedOperand(names[op.x], block, tuple(_uses(op.out))))
    return tuple(found)


def _uses(value: SSAValue) -> Iterator[tuple[ContractionPoint, Operand]]:
    for use in value.uses:
        role = role_of(use.operation)
        if isinstance(use.operation, bfp.DequantizeOp):
            # The emulator's operand of a contraction in fp32.
            yield from _uses(use.operation.out)
        elif role is not None:
            point = ContractionPoint(role.layer.data, TrainingPass(role.training_pass.data))
            yield point, Operand(tuple(role.operands)[use.index].data)


class ErrorProbe:
    """A :class:`~flexc.backends.executor.run.Keep` that measures operands as the step makes their tensors.

    With ``narrower`` each is measured in the next narrower format, too, on the same tensor.
    """

    def __init__(
        self, operands: Iterable[QuantizedOperand], *, narrower: bool, count_zeros: bool = False
    ) -> None:
        self._narrower = narrower
        self._count_zeros = count_zeros
        self._by_variable: dict[str, list[QuantizedOperand]] = {}
        for operand in operands:
            self._by_variable.setdefault(operand.variable, []).append(operand)
        self.measured: list[MeasuredOperand] = []

    def __call__(self, /, **values: Value) -> None:
        """Measures what is quantized of ``values``, which are named as in the program."""
        for name, value in values.items():
            for operand in self._by_variable.get(name, ()):
                assert isinstance(value, np.ndarray)
                other = operand.format.narrower() if self._narrower else None
                error, narrower = (
                    None if one is None else one.error_of(value, count_zeros=self._count_zeros)
                    for one in (operand.format, other)
                )
                assert error is not None
                self.measured.append(MeasuredOperand(operand, error, narrower))
