"""Batch norms of a training step: statistics of the batch, and running ones beside them."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Attribute, SSAValue

from flexc.diagnostics import error
from flexc.ir import nn, train
from flexc.ir.attributes import place_of
from flexc.ir.program import Graph, name_array
from flexc.ir.tensor_op import spec_of, tensor_type
from flexc.passes.building import erase
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.optimizer import average
from flexc.passes.differentiation.signature import Signature


@dataclass(frozen=True)
class RunningStatistic:
    """Statistics that inference uses: their key, their constant, and what a batch adds to them."""

    key: str
    constant: SSAValue
    of_batch: SSAValue


def use_batch_statistics(graph: Graph) -> list[RunningStatistic]:
    """Replaces every ``nn.batch_norm`` by ``train.batch_norm``; the statistics that they leave behind.

    Raises CompileError FX344 for a batch norm whose statistics are no constants.
    """
    found: list[RunningStatistic] = []
    for op in tuple(graph.main.body.block.ops):
        if isinstance(op, nn.BatchNormOp):
            found += _replace(op, graph)
    return found


def _replace(op: nn.BatchNormOp, graph: Graph) -> tuple[RunningStatistic, RunningStatistic]:
    vector = tensor_type(spec_of(op.gamma.type))
    attributes: dict[str, Attribute] = {
        name: op.attributes[name] for name in ("eps", "source") if name in op.attributes
    }
    made = train.BatchNormOp.create(
        operands=(op.x, op.gamma, op.beta),
        result_types=(op.out.type, vector, vector, vector),
        attributes=attributes,
    )
    block = op.parent
    assert block is not None
    block.insert_op_before(made, op)
    hint = op.out.name_hint
    for result, word in zip(made.results, ("", "_mean", "_var", "_scale"), strict=True):
        result.name_hint = None if hint is None else hint + word
    statistics = (_running(op, op.mean, made.mean, graph), _running(op, op.var, made.var, graph))
    made.attributes[train.RUNNING_STATISTICS] = name_array(tuple(one.key for one in statistics))
    op.out.replace_all_uses_with(made.y)
    erase(op)
    return statistics


def _running(op: nn.BatchNormOp, given: SSAValue, of_batch: SSAValue, graph: Graph) -> RunningStatistic:
    owner = given.owner
    if not isinstance(owner, nn.ConstantOp):
        raise error(
            "FX344",
            "the statistics of this batch norm are computed, so no running ones can take their place",
            place=place_of(op, graph.file),
            hint="export the model with its statistics as initializers",
        )
    return RunningStatistic(owner.key.data, given, of_batch)


def update_running_statistics(
    b: Builder, signature: Signature, statistics: list[RunningStatistic], momentum: float
) -> None:
    """run = momentum * run + (1 - momentum) * batch, for each; the first of a key where norms share one."""
    for key in dict.fromkeys(one.key for one in statistics):
        first = next(one for one in statistics if one.key == key)
        running = signature.statistic(key, first.constant)
        signature.result(key, average(b, running, first.of_batch, momentum))
