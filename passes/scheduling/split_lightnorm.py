"""A LightNorm's forward pass in two: its statistics, and what normalizes by them.

%y, %mean, ..., %gamma_q = lightnorm.forward %x, %gamma, %beta
    ->
%mean, %range, %argmax, %argmin, %scale, %gamma_q = lightnorm.statistics %x, %gamma
%y, %xhat = lightnorm.normalize %x, %mean, %scale, %gamma_q, %beta
"""

from __future__ import annotations

from xdsl.ir import Attribute, OpResult

from flexc.ir import lightnorm
from flexc.passes.building import erase


def insert_statistics(op: lightnorm.ForwardOp) -> lightnorm.StatisticsOp:
    """The statistics of ``op`` in front of it, which stays as it is."""
    results = (op.mean, op.range, op.argmax, op.argmin, op.scale, op.gamma_q)
    made = lightnorm.StatisticsOp.create(
        operands=(op.x, op.gamma),
        result_types=[result.type for result in results],
        attributes=_carried(op, "eps", "num_chunks", "rounding"),
    )
    _insert(made, op, results)
    return made


def normalize_by(op: lightnorm.ForwardOp, statistics: lightnorm.StatisticsOp) -> lightnorm.NormalizeOp:
    """Puts ``statistics`` and an op that normalizes by them, which is returned, in the place of ``op``."""
    results = (op.y, op.xhat)
    made = lightnorm.NormalizeOp.create(
        operands=(op.x, statistics.mean, statistics.scale, statistics.gamma_q, op.beta),
        result_types=[result.type for result in results],
        attributes=_carried(op, "rounding"),
    )
    _insert(made, op, results)
    for name in ("mean", "range", "argmax", "argmin", "scale", "gamma_q"):
        getattr(op, name).replace_all_uses_with(getattr(statistics, name))
    for old, new in zip(results, made.results, strict=True):
        old.replace_all_uses_with(new)
    erase(op)
    return made


def _insert(
    made: lightnorm.StatisticsOp | lightnorm.NormalizeOp,
    op: lightnorm.ForwardOp,
    results: tuple[OpResult, ...],
) -> None:
    block = op.parent
    assert block is not None
    block.insert_op_before(made, op)
    for new, old in zip(made.results, results, strict=True):
        new.name_hint = old.name_hint


def _carried(op: lightnorm.ForwardOp, *names: str) -> dict[str, Attribute]:
    return {name: op.attributes[name] for name in (*names, "source") if name in op.attributes}
