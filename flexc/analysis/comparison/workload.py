"""What a model asks of any accelerator: groups of ops that run together, without a machine.

Bytes and formats are left open where machines differ: how wide a result between layers is, whether and how an
operand is quantized.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flexc.analysis.comparison.phases import Phase
from flexc.mapping.problem import ContractionProblem, Pass

Storage: TypeAlias = Literal["result", "f32", "fp10", "i64", "i32", "i1"]
"""Format in DRAM: ``result`` is a plain tensor between layers, in the machine's own width."""
NormKind: TypeAlias = Literal["lightnorm", "fp32"]
NormDirection: TypeAlias = Literal["forward", "backward"]


PHASE_OF_PASS: dict[Pass, Phase] = {
    "forward": Phase.FORWARD,
    "local_grad": Phase.LOCAL_GRAD,
    "weight_grad": Phase.WEIGHT_GRAD,
}


@dataclass(frozen=True)
class Tensor:
    """A plain tensor that is read or written once."""

    elements: int
    storage: Storage


@dataclass(frozen=True)
class BlockOperand:
    """A quantized tensor: the widths are FlexBlock's; other machines have their own for the pass."""

    elements: int
    groups: int
    mantissa_bits: int
    pass_: Pass
    """The pass whose contraction reads it first."""
    of_parameter: bool
    """Whether it is made of what is fp32 on every machine: a weight, or an input of the model."""


@dataclass(frozen=True)
class Norm:
    """A batch norm over ``positions`` values of each of ``channels``, by LightNorm or in fp32."""

    kind: NormKind
    direction: NormDirection
    positions: int
    channels: int

    @property
    def elements(self) -> int:
        """Values that are normalized."""
        return self.positions * self.channels


@dataclass(frozen=True)
class GroupWork:
    """Ops that run as one tile program."""

    phase: Phase
    layer: str
    problems: tuple[ContractionProblem, ...] = ()
    """Contractions, one after the other; their operands' traffic is the mapping's."""
    reads: tuple[Tensor, ...] = ()
    block_reads: tuple[BlockOperand, ...] = ()
    writes: tuple[Tensor, ...] = ()
    quantized: tuple[BlockOperand, ...] = ()
    """Operands that the converter makes of values of the group."""
    stored_unquantized: tuple[Tensor, ...] = ()
    """What is stored beside ``writes`` where a machine does not quantize, or not within the group."""
    vector: tuple[tuple[str, int], ...] = ()
    """Functions of the vector unit, and elements of each."""
    lightnorm_elements: int = 0
    """Elements that LightNorm's unit infers in the group."""
    norm: Norm | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the group."""
        return sum(problem.macs for problem in self.problems)


@dataclass(frozen=True)
class Workload:
    """A model, or a training step of it, for one policy and one kind of batch norm."""

    groups: tuple[GroupWork, ...] = field(repr=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all contractions."""
        return sum(group.macs for group in self.groups)
