"""Find batch norms, layer norms and GELUs that an exporter took apart, and put them together again.

    %d = nn.sub %x, %mean                    (all constants [C, 1, 1])
    %n = nn.div %d, %std
    %s = nn.mul %n, %gamma
    %y = nn.add %s, %beta                ->  %y = nn.batch_norm %x, %gamma1, %beta1, %mean1, %var1 {eps = 0}

The patterns, and what they leave alone, are in :mod:`flexc.passes.rebuilding`. A chain with a value that is
used outside of it always stays. The rebuilt op rounds in other places than the chain did: results may differ
by a few units in the last place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexc.ir import nn
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.rebuilding.batch_norm import rebuild_batch_norm
from flexc.passes.rebuilding.gelu import rebuild_gelu
from flexc.passes.rebuilding.layer_norm import rebuild_layer_norm
from flexc.passes.sweep import RewriteTable, sweep_until_stable

_TABLE: RewriteTable = {
    nn.ErfOp: (rebuild_gelu,),
    nn.SubOp: (rebuild_batch_norm, rebuild_layer_norm),
    nn.TanhOp: (rebuild_gelu,),
}


@dataclass(frozen=True)
class RebuildNormalization(Pass):
    """No options."""

    name: ClassVar[str] = "rebuild-normalization"

    def run(self, graph: Graph) -> bool:
        """Replaces every whole chain that it finds."""
        return sweep_until_stable(graph, _TABLE)
