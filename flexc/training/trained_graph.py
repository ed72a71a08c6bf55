"""The model with what it has learnt: weights and statistics in the places that they had before training.

LightNorm learns running ranges instead of variances (numerics specification, section 5). Its inference,
s = STATS(1 / (range * C + eps)), is that of a batch norm whose eps is 0 and whose variance is
(range * C + eps)^2: the square root of a rounded square gives back the fp32 that was squared.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc.ir import nn
from flexc.ir.attributes import real
from flexc.ir.program import Graph
from flexc.ir.weight_store import WeightStore
from flexc.numerics import range_constant
from flexc.passes.building import insert_constant, shape_of
from flexc.passes.dead_code import erase_dead_ops
from flexc.passes.differentiation.lightnorm import RANGE_SUFFIX
from flexc.passes.fuse_lightnorm import FuseLightNorm

Array: TypeAlias = npt.NDArray[Any]


def trained_graph(forward: Graph, state: Mapping[str, Array]) -> Graph:
    """A copy of ``forward`` (in the batch of training) with the arrays of ``state`` for its constants."""
    weights = WeightStore()
    for key in forward.weights:
        weights.add(key, state.get(key, forward.weights.get(key)))
    graph = Graph(forward.module.clone(), weights, forward.file)
    for op in tuple(graph.main.body.block.ops):
        if isinstance(op, nn.BatchNormOp):
            _use_range(graph, op, state)
    erase_dead_ops(graph)
    return graph


def _use_range(graph: Graph, op: nn.BatchNormOp, state: Mapping[str, Array]) -> None:
    owner = op.var.owner
    if not isinstance(owner, nn.ConstantOp):
        return
    ranges = state.get(owner.key.data + RANGE_SUFFIX)
    if ranges is None:
        return
    images, _, *spatial = shape_of(op.x)
    positions = images * prod(spatial)
    constant = range_constant(positions // gcd(positions, FuseLightNorm().num_chunks))
    deviation = np.asarray(ranges * constant + np.float32(op.eps.value.data), np.float32)
    squared = insert_constant(op, graph, deviation * deviation, f"{owner.key.data}.of_range")
    op.operands[4] = squared.out
    op.eps = real(0.0)
