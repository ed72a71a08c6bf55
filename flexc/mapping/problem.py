"""One contraction as loops: what a mapping has to cover, without any IR.

The eight dimensions are those of :mod:`flexc.ir.mapping`. What they stand for in each pass:

====  ==================  =========================  ==================  =====================
dim   forward             local gradient (a phase)   weight gradient     matmul
====  ==================  =========================  ==================  =====================
g     conv groups         conv groups                conv groups         batch
n     images              images                     input channels I    1
p, q  output rows, cols   rows, columns of x's phase kernel rows, cols   rows, 1
o     output channels     input channels I           output channels O   columns
k     input channels      output channels O          images              contracted axis
r, s  kernel rows, cols   kernel taps of the phase   rows, cols of g     1
====  ==================  =========================  ==================  =====================

Operand a is x (forward, weight gradient), g (local gradient) or the left matrix; b is the other one: w
(forward, local gradient), g (weight gradient) or the right matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flexc.ir.mapping import DIMS, OUTPUT_DIMS, Dim

Kind: TypeAlias = Literal["conv", "depthwise", "matmul"]
Pass: TypeAlias = Literal["forward", "local_grad", "weight_grad"]


@dataclass(frozen=True)
class ContractionProblem:
    """Extents, window, formats and groups of one contraction (machine description, "Loop dimensions").

    ``extents`` has one entry for each of ``DIMS``. In the forward pass and the local gradient of
    a convolution the channel of operand a is ``g * K + k`` and a's groups are laid on it; elsewhere on ``k``.
    """

    kind: Kind
    extents: tuple[int, ...]
    a_bits: int
    """Mantissa bits of operand a."""
    b_bits: int
    """Mantissa bits of operand b."""
    a_group: int
    """Elements of operand a that share an exponent."""
    b_group: int
    """Elements of operand b that share an exponent."""
    a_group_dim: Literal["k", "g"] = "k"
    """Dimension of a's groups: ``g`` in a depthwise convolution, where they run over the channels."""
    b_group_dim: Literal["k", "window"] = "k"
    """Dimension of b's groups: ``window`` for a depthwise filter, which is one group of its taps."""
    pass_: Pass = "forward"
    stride: tuple[int, int] = (1, 1)
    """Rows and columns of a from one output to the next."""
    dilation: tuple[int, int] = (1, 1)
    """Rows and columns of a from one tap to the next."""
    input_extents: tuple[int, int] = (1, 1)
    """Rows and columns of a."""
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows and columns of zeros around a: top, left, bottom, right (negative: cropped)."""
    exponent_bytes: int = 1
    """Bytes of a group's exponent: 0 in formats without shared exponents."""
    output_group: int | None = None
    """Channels of one group of the quantization that follows, where one follows directly."""

    def __post_init__(self) -> None:
        """Raises ValueError for extents, groups or strides below 1."""
        positive = (*self.extents, self.a_group, self.b_group, *self.stride, *self.dilation)
        if len(self.extents) != len(DIMS) or min(positive) < 1:
            raise ValueError(f"not a contraction: {self}")

    def extent(self, dim: Dim) -> int:
        """Iterations of one dimension."""
        return self.extents[DIMS.index(dim)]

    @property
    def macs(self) -> int:
        """Multiply-accumulates by loop extents, padded taps included."""
        return math.prod(self.extents)

    @property
    def outputs(self) -> int:
        """Elements of the result."""
        return math.prod(self.extent(dim) for dim in OUTPUT_DIMS)

    @property
    def grouped_channels(self) -> bool:
        """Whether a's groups of elements are laid on a channel axis that several conv groups share."""
        return self.kind != "matmul" and self.pass_ != "weight_grad" and self.extent("g") > 1

    @property
    def a_channels(self) -> int:
        """Length of the axis on which the groups of operand a are laid."""
        return self.extent("k") * (self.extent("g") if self.grouped_channels else 1)

    @property
    def k_step(self) -> int | None:
        """What a tile of ``k`` is a multiple of where ``k`` is cut; None where it must stay whole.

        A segment is summed in one go, so a cut must fall between groups of both operands, in every conv
        group; and tiles of 4-bit mantissas start on a whole byte.
        """
        if self.grouped_channels and self.extent("k") % self.a_group:
            return None
        bytewise = 2 if 4 in (self.a_bits, self.b_bits) else 1
        return math.lcm(self.a_group, self.b_group, bytewise)

    @property
    def longest_segment(self) -> int:
        """An upper bound of the elements that are summed as integers before one rounding."""
        groups = [self.extent("k"), self.a_group if self.a_group_dim == "k" else 1]
        if self.b_group_dim == "k":
            groups.append(self.b_group)
        return min(groups)

    @property
    def accumulator_bits(self) -> int:
        """Magnitude bits that the integer sum of the longest segment can need, sign excluded."""
        largest = ((1 << (self.a_bits - 1)) - 1) * ((1 << (self.b_bits - 1)) - 1)
        return (self.longest_segment * largest).bit_length()

    def describe(self) -> str:
        """One line for messages: kind, pass and extents."""
        extents = ", ".join(f"{dim} {extent}" for dim, extent in zip(DIMS, self.extents, strict=True))
        return f"{self.kind} {self.pass_.replace('_', ' ')} [{extents}], {self.a_bits} x {self.b_bits} bits"
