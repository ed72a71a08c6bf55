"""Applying rewrites to a function until none applies: a table keyed by op class, and one loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from xdsl.ir import Operation

from flexc.ir.program import Graph
from flexc.passes.dead_code import erase_dead_ops

Rewrite: TypeAlias = Callable[[Any, Graph], bool]
"""Looks at one op of the class it is listed under; changes the IR around it and says so, or does neither.

It may erase that op and those after it; what it leaves unused is erased before the next sweep.
"""
RewriteTable: TypeAlias = Mapping[type[Operation], tuple[Rewrite, ...]]


def sweep_until_stable(graph: Graph, table: RewriteTable) -> bool:
    """Erases dead ops and applies the rewrites of ``table``, in order of the ops, until nothing changes.

    Ends if each rewrite leaves fewer ops, or ops nearer to a form that no rewrite matches.
    """
    changed = erase_dead_ops(graph)
    while _sweep(graph, table):
        changed = True
        erase_dead_ops(graph)
    return changed


def _sweep(graph: Graph, table: RewriteTable) -> bool:
    changed = False
    for op in tuple(graph.main.body.block.ops):
        for rewrite in table.get(type(op), ()):
            if op.parent is None:
                break
            changed |= rewrite(op, graph)
    return changed
