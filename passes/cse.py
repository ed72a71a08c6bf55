"""Compute once what is computed twice in the same way.

    %a = bfp.quantize %x {...}               %a = bfp.quantize %x {...}
    %b = bfp.quantize %x {...}           ->
    %y = bfp.conv %b, ...                    %y = bfp.conv %a, ...

Sources do not tell ops apart, nor do seeds and streams where the rounding draws no random bits.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Operation
from xdsl.traits import Pure

from flexc.ir import bfp
from flexc.ir.program import Graph
from flexc.numerics.block_float import Rounding
from flexc.passes.base import Pass
from flexc.passes.building import replace


@dataclass(frozen=True)
class EliminateCommonSubexpressions(Pass):
    """No options."""

    name: ClassVar[str] = "cse"

    def run(self, graph: Graph) -> bool:
        """Replaces every pure op that repeats an earlier one."""
        changed = False
        seen: dict[Hashable, Operation] = {}
        for op in tuple(graph.main.body.block.ops):
            if not op.has_trait(Pure) or len(op.results) != 1:
                continue
            first = seen.setdefault(_identity(op), op)
            if first is not op:
                replace(op, first.results[0])
                changed = True
        return changed


def _identity(op: Operation) -> Hashable:
    ignored = {"source"}
    if isinstance(op, bfp.QuantizeOp) and op.rounding.data != Rounding.STOCHASTIC:
        ignored |= {"seed", "stream"}
    attributes = frozenset((name, value) for name, value in op.attributes.items() if name not in ignored)
    return (type(op), tuple(op.operands), op.results[0].type, attributes)
