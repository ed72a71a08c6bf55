"""Compute batch normalization by LightNorm, together with the activation that follows.

    %n = nn.batch_norm %x, %gamma, %beta, %mean, %var {eps = ...}
    %y = nn.relu %n                          ->  %y = lightnorm.infer %x, ... {activation = "relu", ...}

The activation is not fused if the normalized value has another use. The statistics are the imported ones
(numerics specification, section 5). In a training step batch norms take those of the batch, and become
lightnorm.forward and lightnorm.backward (see :mod:`flexc.passes.differentiation.lightnorm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from xdsl.dialects.builtin import FloatAttr, StringAttr
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation

from flexc.ir import lightnorm, nn
from flexc.ir.attributes import reals
from flexc.ir.kernel_calls import ACTIVATION_PARAMETERS
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.building import erase, insert_before, only_user, replace
from flexc.passes.differentiation.lightnorm import use_lightnorm

NO_ACTIVATION = "none"
_ACTIVATION_OPS: tuple[type[IRDLOperation], ...] = (
    nn.ClipOp,
    nn.HardSigmoidOp,
    nn.HardSwishOp,
    nn.LeakyReluOp,
    nn.ReluOp,
    nn.SigmoidOp,
    nn.TanhOp,
)


class LightNormRounding(StrEnum):
    """Roundings of LightNorm's minifloats."""

    NEAREST = "nearest"
    TRUNCATE = "truncate"


@dataclass(frozen=True)
class FuseLightNorm(Pass):
    """Options: the rounding of LightNorm's minifloats; in training, the chunks that ranges are taken over."""

    name: ClassVar[str] = "fuse-lightnorm"
    rounding: LightNormRounding = LightNormRounding.NEAREST
    num_chunks: int = 8

    def run(self, graph: Graph) -> bool:
        """Replaces every batch norm; CompileError FX346 for one of a training step with too few positions."""
        norms = [op for op in graph.main.body.block.ops if isinstance(op, nn.BatchNormOp)]
        for norm in norms:
            self._fuse(norm)
        training = use_lightnorm(graph, rounding=self.rounding, num_chunks=self.num_chunks)
        return bool(norms) or training

    def _fuse(self, norm: nn.BatchNormOp) -> None:
        follower = only_user(norm.out)
        activation = NO_ACTIVATION if follower is None else activation_name(follower)
        parameters: Sequence[float] = ()
        replaced: Operation = norm
        if follower is not None and activation != NO_ACTIVATION:
            parameters = activation_parameters(follower, activation)
            replaced = follower
        attributes = {
            "eps": norm.eps,
            "rounding": StringAttr(self.rounding),
            "activation": StringAttr(activation),
            "activation_parameters": reals(parameters),
        }
        made = insert_before(norm, lightnorm.InferOp, norm.operands, norm.out.type, attributes)
        replace(replaced, made.out)
        if replaced is not norm:
            erase(norm)


def activation_name(op: Operation) -> str:
    """What ``lightnorm.infer`` calls the activation ``op``: "none" if it is none that can be fused."""
    if isinstance(op, nn.GeluOp):
        return "gelu_tanh" if op.approximate.data == "tanh" else "gelu"
    return op.name.removeprefix("nn.") if isinstance(op, _ACTIVATION_OPS) else NO_ACTIVATION


def activation_parameters(op: Operation, activation: str) -> tuple[float, ...]:
    """The parameters of the activation ``op``, in the order of its definition."""
    found = (op.attributes[name] for name in ACTIVATION_PARAMETERS[activation])
    return tuple(one.value.data for one in found if isinstance(one, FloatAttr))
