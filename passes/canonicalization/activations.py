"""Activations that exporters spell out.

hard_swish is ``x * clip(x / 6 + 1/2, 0, 1)``. Other spellings round in other places and differ from it by a
few units in the last place. ``x * sigmoid(x)`` stays two ops.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from flexc.ir import nn
from flexc.ir.program import Graph
from flexc.passes.building import insert_before, replace
from flexc.passes.polynomials import PolynomialReader, agrees, close, single_use_users, variable_candidates


def hard_swish_by_hard_sigmoid(op: nn.HardSigmoidOp, graph: Graph) -> bool:
    """x * hard_sigmoid(x) with alpha 1/6 and beta 1/2."""
    if not (close(op.alpha.value.data, 1 / 6) and close(op.beta.value.data, 1 / 2)):
        return False
    return _replace_product(graph, op.x, op.out, scale=1.0)


def hard_swish_by_clip(op: nn.ClipOp, graph: Graph) -> bool:
    """x * clip(x + 3, 0, 6) / 6, or the same with the 6 elsewhere: clip(x / 6 + 1/2, 0, 1), say."""
    height = op.maximum.value.data
    if op.minimum.value.data != 0 or not 0 < height < float("inf"):
        return False
    for x in variable_candidates(op.x):
        reader = PolynomialReader(graph, (x,))
        if not agrees(reader.read(op.x), {(1,): height / 6, (0,): height / 2}):
            continue
        reader.ops.add(op)
        if reader.encloses_uses(op):
            return _replace_product(graph, x, op.out, scale=1 / height)
    return False


def _replace_product(graph: Graph, x: SSAValue, gate: SSAValue, scale: float) -> bool:
    """Makes the op that computes ``scale * x * gate``, if that is all ``gate`` is for, a hard_swish."""
    for root in single_use_users(gate):
        reader = PolynomialReader(graph, (x, gate))
        if agrees(reader.read(root.results[0]), {(1, 1): scale}) and reader.encloses_uses(root):
            replace(root, insert_before(root, nn.HardSwishOp, (x,), root.results[0].type).out)
            return True
    return False
