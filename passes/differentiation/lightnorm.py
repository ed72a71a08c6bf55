"""LightNorm in the place of a training step's batch norms.

    %y, %mean, %var, %scale = train.batch_norm %x, %gamma, %beta
    %dx, %dgamma, %dbeta = train.batch_norm_grad %g, %x, %gamma, %mean, %scale
        ->
    %y, %mean, %range, %xhat, %argmax, %argmin, %scale, %gamma_q = lightnorm.forward %x, %gamma, %beta
    %dx, %dgamma, %dbeta = lightnorm.backward %g, %xhat, %argmax, %argmin, %scale, %gamma_q

Running variances become running ranges: their argument ``bn.var`` is renamed ``bn.var/range``, and starts at
the range that belongs to the variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Attribute

from flexc.diagnostics import error
from flexc.ir import gradient_shapes, lightnorm, train
from flexc.ir.attributes import integer, place_of
from flexc.ir.program import INPUTS, OUTPUTS, STATE, Graph, name_array, names_of
from flexc.ir.tensor_op import spec_of, tensor_type
from flexc.numerics import range_constant
from flexc.passes.building import erase
from flexc.passes.dead_code import drop_unused_weights
from flexc.passes.differentiation.builder import shape_of
from flexc.passes.differentiation.signature import hint_of

RANGE_SUFFIX = "/range"


def use_lightnorm(graph: Graph, *, rounding: str, num_chunks: int) -> bool:
    """Replaces every batch norm that takes the statistics of the batch; whether there were any.

    Raises CompileError FX346 for one with too few positions.
    """
    norms = [op for op in graph.main.body.block.ops if isinstance(op, train.BatchNormOp)]
    positions_per_chunk: dict[str, int] = {}
    for norm in norms:
        positions = _positions_per_chunk(norm, graph, num_chunks)
        _replace(norm, rounding, num_chunks)
        statistics = norm.attributes.get(train.RUNNING_STATISTICS)
        if isinstance(statistics, ArrayAttr):
            _, variance = (one.data for one in statistics if isinstance(one, StringAttr))
            positions_per_chunk.setdefault(variance, positions)
        erase(norm)
    if norms:
        _keep_ranges(graph, positions_per_chunk)
        drop_unused_weights(graph)
    return bool(norms)


def _positions_per_chunk(norm: train.BatchNormOp, graph: Graph, num_chunks: int) -> int:
    images, _, *spatial = shape_of(norm.x)
    positions = images * int(np.prod(spatial, dtype=np.int64))
    per_chunk = positions // gcd(positions, num_chunks)
    if per_chunk < 2:
        raise error(
            "FX346",
            f"LightNorm over {positions} positions a channel in {gcd(positions, num_chunks)} chunks",
            place=place_of(norm, graph.file),
            hint="each chunk needs two positions or more: a larger batch, fewer chunks, or --batchnorm fp32",
        )
    return per_chunk


def _replace(norm: train.BatchNormOp, rounding: str, num_chunks: int) -> None:
    specs = gradient_shapes.lightnorm_forward(
        *(spec_of(operand.type) for operand in norm.operands), num_chunks=num_chunks
    )
    given: dict[str, Attribute] = {
        "eps": norm.eps,
        "num_chunks": integer(num_chunks),
        "rounding": StringAttr(rounding),
    }
    forward = lightnorm.ForwardOp.create(
        operands=(norm.x, norm.gamma, norm.beta),
        result_types=[tensor_type(spec) for spec in specs],
        attributes=given | _carried(norm),
    )
    block = norm.parent
    assert block is not None
    block.insert_op_before(forward, norm)
    words = ("", "_mean", "_range", "_xhat", "_argmax", "_argmin", "_scale", "_gamma_q")
    for result, word in zip(forward.results, words, strict=True):
        result.name_hint = None if norm.y.name_hint is None else norm.y.name_hint + word
    for use in tuple(norm.scale.uses):
        gradient = use.operation
        assert isinstance(gradient, train.BatchNormGradOp)
        _replace_gradient(gradient, forward, rounding)
    norm.y.replace_all_uses_with(forward.y)
    norm.mean.replace_all_uses_with(forward.mean)
    norm.var.replace_all_uses_with(forward.range)


def _replace_gradient(gradient: train.BatchNormGradOp, forward: lightnorm.ForwardOp, rounding: str) -> None:
    backward = lightnorm.BackwardOp.create(
        operands=(
            gradient.g,
            forward.xhat,
            forward.argmax,
            forward.argmin,
            forward.scale,
            forward.gamma_q,
        ),
        result_types=gradient.result_types,
        attributes={"rounding": StringAttr(rounding)} | _carried(gradient),
    )
    block = gradient.parent
    assert block is not None
    block.insert_op_before(backward, gradient)
    for old, new in zip(gradient.results, backward.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    erase(gradient)


def _carried(op: train.BatchNormOp | train.BatchNormGradOp) -> dict[str, Attribute]:
    source = op.attributes.get("source")
    return {} if source is None else {"source": source}


def _keep_ranges(graph: Graph, positions_per_chunk: Mapping[str, int]) -> None:
    """Renames running variances, given with their positions, and makes ranges of their first values."""
    main = graph.main
    state = set(names_of(main, STATE))
    renamed = {name: name + RANGE_SUFFIX for name in positions_per_chunk if name in state}
    for argument, name in zip(main.body.block.args, graph.input_names, strict=True):
        if name in renamed:
            argument.name_hint = hint_of(renamed[name])
    for attribute in (INPUTS, OUTPUTS, STATE):
        names = names_of(main, attribute)
        main.attributes[attribute] = name_array(tuple(renamed.get(name, name) for name in names))
    for variance, name in renamed.items():
        if variance in graph.weights:
            deviation = np.sqrt(np.asarray(graph.weights.get(variance), np.float32))
            graph.weights.add(name, deviation / range_constant(positions_per_chunk[variance]))
