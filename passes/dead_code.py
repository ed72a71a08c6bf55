"""Dropping what nothing reads: ops, and arrays of the weight store."""

from __future__ import annotations

from xdsl.ir import Operation
from xdsl.traits import Pure

from flexc.ir.program import Graph
from flexc.passes.building import constant_keys, erase


def erase_dead_ops(graph: Graph) -> bool:
    """Erases the pure ops of ``@main`` that no op uses, last first; whether there were any."""
    changed = False
    for op in reversed(tuple(graph.main.body.block.ops)):
        if is_dead(op):
            erase(op)
            changed = True
    return changed


def is_dead(op: Operation) -> bool:
    """Whether ``op`` has results, none of them used, and no other effect."""
    return bool(op.results) and op.has_trait(Pure) and not any(result.first_use for result in op.results)


def drop_unused_weights(graph: Graph) -> None:
    """Drops the arrays that no constant of the IR names."""
    keys = constant_keys(graph)
    planes = {f"{key}.{plane}" for key in keys for plane in ("mantissa", "exponent")}
    graph.weights.keep_only(keys | planes)
