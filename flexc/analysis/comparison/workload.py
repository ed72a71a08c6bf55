"""What a model asks of any accelerator: groups of ops that run together, without a machine.

Bytes and formats are left open where machines differ: how wide a result between layers is, whether and how an
operand is quantized.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flexc.analysis.comparison.phases import Phase
from flexc.ir.mapping import Dim
from flexc.mapping.problem import ContractionProblem, Pass

Storage: TypeAlias = Literal["result", "f32", "fp10", "i64", "i32", "i1"]
"""Format in DRAM: ``result`` is a plain tensor between layers, in the machine's own width."""
NormKind: TypeAlias = Literal["lightnorm", "fp32"]
NormDirection: TypeAlias = Literal["forward", "normalize", "backward"]
"""``normalize``: a forward pass whose statistics are there."""
UNPLACED = -1
"""The place of what a group stores besides: only its readers' group is known."""


PHASE_OF_PASS: dict[Pass, Phase] = {
    "forward": Phase.FORWARD,
    "local_grad": Phase.LOCAL_GRAD,
    "weight_grad": Phase.WEIGHT_GRAD,
}


@dataclass(frozen=True)
class StoredBy:
    """Where what is read comes from: a group's number, and its place among the planes that it stores.

    A group stores quantized tensors first, mantissas and then exponents of each, and then plain ones.
    """

    group: int
    place: int


@dataclass(frozen=True)
class Tensor:
    """A plain tensor that is read or written once."""

    elements: int
    storage: Storage
    stored_by: StoredBy | None = None
    """Of what is read; None for an argument or a constant."""
    of_gather: bool = False
    """Whether these are the indices of a gather, which its own transfers read."""


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
    along: Dim | None = None
    """Of a result of a contraction: the loop dimension that its groups run along; None for more than one."""
    group_length: int = 0
    row_length: int = 1
    """Elements that lie together, in whole bytes."""
    read_back: bool = False
    """Whether it is dequantized again: random bits of a dropout's mask, alike on every machine, or a result
    that the policy stores so."""
    stored_by: StoredBy | None = None
    """Of what is read; None for an argument or a constant."""


@dataclass(frozen=True)
class Norm:
    """A batch norm over ``positions`` values of each of ``channels``, by LightNorm or in fp32."""

    kind: NormKind
    direction: NormDirection
    positions: int
    channels: int
    chunks: int = 1
    """Parts of the positions that LightNorm takes the range of."""

    @property
    def elements(self) -> int:
        """Values that are normalized."""
        return self.positions * self.channels


@dataclass(frozen=True)
class Statistics:
    """LightNorm's statistics of the results of a contraction, which may ride on their write-back."""

    norm: Norm
    gamma: Tensor
    vectors: tuple[Tensor, ...]
    """What is stored of them."""


@dataclass(frozen=True)
class WalkOrder:
    """What of a tile waits for what."""

    loads: tuple[frozenset[int], ...]
    """Places of the reads that are on chip before each function of the vector unit."""
    converted: tuple[int, ...]
    """Functions that are done before each quantization."""
    stored: tuple[int, ...]
    """Functions that are done before each result is stored."""


@dataclass(frozen=True)
class Followed:
    """The extent at ``place`` of a walk, and how a dimension of something that is read follows it.

    Element d of the walk reads ``halo`` elements and one more from ``start + scale * d`` on, those that the
    dimension has. ``size`` 0 stands for a dimension like the extent.
    """

    place: int
    scale: int = 1
    start: int = 0
    halo: int = 0
    size: int = 0

    def elements(self, tile: int, extent: int) -> int:
        """Room for those that a tile reads."""
        return min(tile, extent) if not self.size else (tile - 1) * self.scale + 1 + self.halo

    def read(self, tile: int, extent: int) -> int:
        """Elements that all tiles read."""
        if not self.size:
            return extent
        length, found = self.elements(tile, extent), 0
        for first in range(0, extent, tile):
            start = self.start + self.scale * first
            found += max(0, min(start + length, self.size) - max(start, 0))
        return found


@dataclass(frozen=True)
class Walk:
    """How a group without a contraction is cut into tiles, which are as large as the buffers allow.

    ``extents`` are those of its results, the outermost in DRAM first; a tile has multiples of ``granules``
    or all of a dimension. ``results`` are on the chip a tile at a time beside what is read and quantized.
    """

    extents: tuple[int, ...]
    granules: tuple[int, ...]
    results: tuple[Tensor, ...] = ()
    cleared: bool = False
    """Whether each tile of the first result is filled with zeros before."""
    follows: tuple[tuple[Followed, ...], ...] | None = None
    """For each of the reads, the extents that a tile of it depends on, outermost first. None: on all, of what
    is as large as the results."""
    order: WalkOrder | None = None
    """None where nothing starts before all that it could need."""


@dataclass(frozen=True)
class GroupWork:
    """Ops that run as one tile program."""

    phase: Phase
    layer: str
    number: int = 0
    """Its place among all groups, by which others name it."""
    problems: tuple[ContractionProblem, ...] = ()
    """Contractions, one after the other; their operands' traffic is the mapping's."""
    operands_stored_by: tuple[StoredBy | None, StoredBy | None] = (None, None)
    """Where operands a and b of the contractions come from."""
    walk: Walk | None = None
    """Of a group without contractions, a batch norm or copies."""
    copies: tuple[Walk, ...] = ()
    """Of a result put together from boxes: the walk of each of ``reads``."""
    fills: tuple[Walk, ...] = ()
    """Beside contractions: boxes of the result that are filled with zeros."""
    reads: tuple[Tensor, ...] = ()
    dequantized: BlockOperand | None = None
    """What a group turns into fp32, and does nothing else."""
    writes: tuple[Tensor, ...] = ()
    quantized: tuple[BlockOperand, ...] = ()
    """Operands that the converter makes of values of the group."""
    converted_apart: tuple[Walk, ...] = ()
    """Of a contraction: the walk of each of ``quantized`` where it has a program of its own."""
    stored_unquantized: tuple[Tensor, ...] = ()
    """What is stored beside ``writes`` where a machine does not quantize, or not within the group."""
    vector: tuple[tuple[str, int], ...] = ()
    """Functions of the vector unit, and elements of each."""
    lightnorm_elements: int = 0
    """Elements that LightNorm's unit infers in the group."""
    norm: Norm | None = None
    statistics: Statistics | None = None
    """Of a contraction whose results a LightNorm reads."""
    carrier: GroupWork | None = None
    """Of such a LightNorm: the group of the contraction."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the group; a dequantization is a product with 1 of each element."""
        dequantized = 0 if self.dequantized is None else self.dequantized.elements
        return sum(problem.macs for problem in self.problems) + dequantized


@dataclass(frozen=True)
class Workload:
    """A model, or a training step of it, for one policy and one kind of batch norm."""

    groups: tuple[GroupWork, ...] = field(repr=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all groups."""
        return sum(group.macs for group in self.groups)
