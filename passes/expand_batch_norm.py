"""Take the batch norms of a training step apart into the ops that define them.

    %y, %mean, %var, %scale = train.batch_norm %x, %gamma, %beta
        ->
    %mean = nn.reduce_mean %x
    %d = nn.sub %x, %mean
    %var = nn.reduce_mean (%d * %d)
    %scale = nn.reciprocal (nn.sqrt (%var + eps))
    %y = (%d * %scale) * %gamma + %beta

Every bit stays: the operations are those of the numerics specification, section 3.8. The machine has no unit
for exact batch norms; LightNorm's ops stay whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import SSAValue

from flexc.ir import nn, train
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.building import erase
from flexc.passes.differentiation.builder import Builder, shape_of


@dataclass(frozen=True)
class ExpandBatchNorm(Pass):
    """Replaces every ``train.batch_norm`` and ``train.batch_norm_grad``."""

    name: ClassVar[str] = "expand-batch-norm"

    def run(self, graph: Graph) -> bool:
        """Never fails."""
        changed = False
        for op in tuple(graph.main.body.block.ops):
            if isinstance(op, train.BatchNormOp):
                _replace(op, _forward(op, graph))
            elif isinstance(op, train.BatchNormGradOp):
                _replace(op, _backward(op, graph))
            else:
                continue
            changed = True
        return changed


def _replace(op: train.BatchNormOp | train.BatchNormGradOp, values: tuple[SSAValue, ...]) -> None:
    for result, value in zip(op.results, values, strict=True):
        value.name_hint = result.name_hint
        result.replace_all_uses_with(value)
    erase(op)


class _Channels:
    """Ops in front of one norm; vectors [C] are spread over its image tensor [N, C, spatial...]."""

    def __init__(self, op: train.BatchNormOp | train.BatchNormGradOp, graph: Graph) -> None:
        self.build = Builder(graph, op)
        self._shape = shape_of(op.x)

    @property
    def positions(self) -> SSAValue:
        """R, the values of a channel."""
        count = 1
        for axis in self._axes:
            count *= self._shape[axis]
        return self.build.scalar(float(count))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self._shape)) if axis != 1)

    def spread(self, vector: SSAValue) -> SSAValue:
        return self.build.reshape(vector, (self._shape[1], *(1,) * (len(self._shape) - 2)))

    def total(self, value: SSAValue) -> SSAValue:
        return self.build.op(nn.ReduceSumOp, value, axes=self._axes, keepdims=False)

    def mean(self, value: SSAValue) -> SSAValue:
        return self.build.op(nn.ReduceMeanOp, value, axes=self._axes, keepdims=False)


def _forward(op: train.BatchNormOp, graph: Graph) -> tuple[SSAValue, ...]:
    of = _Channels(op, graph)
    b = of.build
    with b.on_behalf_of(op, op.y.name_hint):
        mean = of.mean(op.x)
        centred = b.op(nn.SubOp, op.x, of.spread(mean))
        var = of.mean(b.op(nn.MulOp, centred, centred))
        deviation = b.op(nn.SqrtOp, b.op(nn.AddOp, var, b.scalar(float(op.eps.value.data))))
        scale = b.op(nn.ReciprocalOp, deviation)
        xhat = b.op(nn.MulOp, centred, of.spread(scale))
        y = b.op(nn.AddOp, b.op(nn.MulOp, xhat, of.spread(op.gamma)), of.spread(op.beta))
    return y, mean, var, scale


def _backward(op: train.BatchNormGradOp, graph: Graph) -> tuple[SSAValue, ...]:
    of = _Channels(op, graph)
    b = of.build
    with b.on_behalf_of(op, op.dx.name_hint):
        xhat = b.op(nn.MulOp, b.op(nn.SubOp, op.x, of.spread(op.mean)), of.spread(op.scale))
        dbeta = of.total(op.g)
        dgamma = of.total(b.op(nn.MulOp, op.g, xhat))
        along = b.op(nn.MulOp, xhat, of.spread(b.op(nn.DivOp, dgamma, of.positions)))
        centred = b.op(nn.SubOp, op.g, of.spread(b.op(nn.DivOp, dbeta, of.positions)))
        scale = of.spread(b.op(nn.MulOp, op.gamma, op.scale))
        dx = b.op(nn.MulOp, b.op(nn.SubOp, centred, along), scale)
    return dx, dgamma, dbeta
