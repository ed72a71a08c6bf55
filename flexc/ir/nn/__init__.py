"""The ``nn`` dialect: typed fp32 tensors, one op per operator, in the form canonicalization leaves them.

Names of attributes are the keyword names of the kernel in :mod:`flexc.numerics` that defines the op.
Image tensors are [N, C, spatial...]; ``pads`` holds the begins of all spatial dimensions, then the ends.
"""

from __future__ import annotations

from xdsl.ir import Dialect, Operation, SSAValue

from flexc.ir.attributes import SourceAttr
from flexc.ir.nn.base import BinaryOp, ConstantOp, ReduceOp, UnaryOp
from flexc.ir.nn.contractions import ConvOp, MatMulOp
from flexc.ir.nn.elementwise import (
    AbsOp,
    AddOp,
    CastOp,
    ClipOp,
    DivOp,
    EqualOp,
    ErfOp,
    ExpOp,
    FloorOp,
    GeluOp,
    GreaterOp,
    HardSigmoidOp,
    HardSwishOp,
    LeakyReluOp,
    LessOp,
    LogOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    PowOp,
    ReciprocalOp,
    ReluOp,
    SigmoidOp,
    SqrtOp,
    SubOp,
    TanhOp,
    WhereOp,
)
from flexc.ir.nn.gradients import (
    AveragePoolGradOp,
    ConvLocalGradOp,
    ConvWeightGradOp,
    GatherGradOp,
    MaxPoolGradOp,
    ReduceMaxGradOp,
)
from flexc.ir.nn.movement import ConcatOp, ExpandOp, GatherOp, PadOp, ReshapeOp, SliceOp, TransposeOp
from flexc.ir.nn.normalization import BatchNormOp, LayerNormOp, LogSoftmaxOp, SoftmaxOp
from flexc.ir.nn.reductions import AveragePoolOp, MaxPoolOp, PoolOp, ReduceMaxOp, ReduceMeanOp, ReduceSumOp

__all__ = [
    "NN",
    "AbsOp",
    "AddOp",
    "AveragePoolGradOp",
    "AveragePoolOp",
    "BatchNormOp",
    "BinaryOp",
    "CastOp",
    "ClipOp",
    "ConcatOp",
    "ConstantOp",
    "ConvLocalGradOp",
    "ConvOp",
    "ConvWeightGradOp",
    "DivOp",
    "EqualOp",
    "ErfOp",
    "ExpOp",
    "ExpandOp",
    "FloorOp",
    "GatherGradOp",
    "GatherOp",
    "GeluOp",
    "GreaterOp",
    "HardSigmoidOp",
    "HardSwishOp",
    "LayerNormOp",
    "LeakyReluOp",
    "LessOp",
    "LogOp",
    "LogSoftmaxOp",
    "MatMulOp",
    "MaxPoolGradOp",
    "MaxPoolOp",
    "MaximumOp",
    "MinimumOp",
    "MulOp",
    "NegOp",
    "PadOp",
    "PoolOp",
    "PowOp",
    "ReciprocalOp",
    "ReduceMaxGradOp",
    "ReduceMaxOp",
    "ReduceMeanOp",
    "ReduceOp",
    "ReduceSumOp",
    "ReluOp",
    "ReshapeOp",
    "SigmoidOp",
    "SliceOp",
    "SoftmaxOp",
    "SqrtOp",
    "SubOp",
    "TanhOp",
    "TransposeOp",
    "UnaryOp",
    "WhereOp",
    "is_constant",
]


def is_constant(value: SSAValue) -> bool:
    """Whether ``value`` is a tensor of the weight store."""
    return isinstance(value.owner, ConstantOp)


CONTRACTIONS = (ConvOp, MatMulOp, ConvLocalGradOp, ConvWeightGradOp)
"""Contractions in fp32, whose order of sums is not fixed."""

_OPERATIONS: list[type[Operation]] = [
    AbsOp,
    AddOp,
    AveragePoolGradOp,
    AveragePoolOp,
    BatchNormOp,
    CastOp,
    ClipOp,
    ConcatOp,
    ConstantOp,
    ConvLocalGradOp,
    ConvOp,
    ConvWeightGradOp,
    DivOp,
    EqualOp,
    ErfOp,
    ExpOp,
    ExpandOp,
    FloorOp,
    GatherGradOp,
    GatherOp,
    GeluOp,
    GreaterOp,
    HardSigmoidOp,
    HardSwishOp,
    LayerNormOp,
    LeakyReluOp,
    LessOp,
    LogOp,
    LogSoftmaxOp,
    MatMulOp,
    MaxPoolGradOp,
    MaxPoolOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    PadOp,
    PowOp,
    ReciprocalOp,
    ReduceMaxGradOp,
    ReduceMaxOp,
    ReduceMeanOp,
    ReduceSumOp,
    ReluOp,
    ReshapeOp,
    SigmoidOp,
    SliceOp,
    SoftmaxOp,
    SqrtOp,
    SubOp,
    TanhOp,
    TransposeOp,
    WhereOp,
]

NN = Dialect("nn", _OPERATIONS, [SourceAttr])
