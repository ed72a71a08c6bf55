"""Dropouts of a training step: products with masks of random bits that are new in each step.

%y = train.dropout %x {ratio = 0.5, number = 1}
    ->
%m = train.dropout_mask %step {ratio = 0.5, seed = 0, node = 4094}
%y = nn.mul %x, %m
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from flexc.diagnostics import error
from flexc.ir import nn, train
from flexc.ir.attributes import integer, place_of
from flexc.ir.program import Graph
from flexc.passes.building import insert_before, replace

LAST_NODE = (1 << 12) - 1
"""Quantize nodes count their streams of random bits from 0 up, dropouts from here down."""


def draw_masks(graph: Graph, step: SSAValue, seed: int) -> None:
    """Replaces every ``train.dropout``; ``step`` is the number of the training step.

    Raises CompileError FX333 for a dropout whose number leaves it no stream of its own.
    """
    dropouts = [op for op in graph.main.body.block.ops if isinstance(op, train.DropoutOp)]
    for op in dropouts:
        number = int(op.number.value.data)
        if number > LAST_NODE:
            raise error(
                "FX333",
                f"random bits tell {LAST_NODE + 1} dropouts apart, and this is one more",
                place=place_of(op, graph.file),
            )
        attributes = {"ratio": op.ratio, "seed": integer(seed), "node": integer(LAST_NODE - number)}
        hint = None if op.out.name_hint is None else f"{op.out.name_hint}_mask"
        mask = insert_before(op, train.DropoutMaskOp, (step,), op.x.type, attributes, name_hint=hint)
        product = insert_before(op, nn.MulOp, (op.x, mask.out), op.out.type)
        replace(op, product.out)
