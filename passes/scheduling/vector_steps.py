"""How each op outside of contractions is computed on tiles: a function of the vector unit, or only a load.

One table, keyed by op class. An op with a result put together from several boxes is not in it, but in
:mod:`flexc.passes.scheduling.box_copies`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import lcm

from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import literal
from flexc.passes.scheduling.layout import NORM_TABLE_ROWS, grouped_dim
from flexc.passes.scheduling.vector_functions import (
    ELEMENTWISE_FUNCTIONS,
    VectorFunction,
    activation_function,
    elementwise_function,
)
from flexc.passes.scheduling.vector_sources import (
    AxisRule,
    Source,
    broadcast_rules,
    channel_rules,
    pad_rules,
    reduced_rules,
    slice_rules,
    trailing_rules,
    transpose_rules,
    window_fill,
    window_rules,
)

CHANNEL_GROUP = 4


@dataclass(frozen=True)
class Domain:
    """The dimensions that a group walks: those of its results, from the outermost in DRAM on."""

    shape: tuple[int, ...]
    order: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One op on a tile: ``function`` of the operands, then each of ``then`` in place with its operands.

    ``function`` None: the result is the one operand as it was loaded. ``taps`` are the extents of added
    dimensions, reduced; ``row`` the domain dimensions that are one row. ``norm`` is LightNorm's rounding,
    for its unit in place of the vector unit. Operands that the group itself computes are sources too; they
    are not loaded.
    """

    op: Operation
    function: VectorFunction | None
    operands: tuple[Source, ...]
    taps: tuple[int, ...] = ()
    row: tuple[int, ...] = ()
    norm: str | None = None
    then: tuple[tuple[VectorFunction, tuple[Source, ...]], ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """All operands."""
        return (*self.operands, *(source for _, more in self.then for source in more))

    @property
    def only_loads(self) -> bool:
        """Whether the result is the operand as it was loaded."""
        return self.function is None and self.norm is None


StepBuilder = Callable[[Operation, Domain], Step]


def _operand(value: SSAValue, domain: Domain) -> Source:
    return Source(value, broadcast_rules(value, domain.shape, domain.order))


def _elementwise(op: Operation, domain: Domain) -> Step:
    return Step(op, elementwise_function(op), tuple(_operand(value, domain) for value in op.operands))


def _batch_norm(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.BatchNormOp)
    vectors = (Source(value, channel_rules(domain.shape, 1)) for value in op.operands[1:])
    function = VectorFunction("batch_norm", (op.eps.value.data,))
    return Step(op, function, (_operand(op.x, domain), *vectors))


def table_source(op: lightnorm.InferOp, domain: Domain) -> Source:
    """The constants of a LightNorm: rows mean, scale, gamma_q, beta of all channels."""
    row = AxisRule(0, NORM_TABLE_ROWS, count=NORM_TABLE_ROWS, taps=(("row", 1),))
    return Source(op.out, (row, AxisRule(1, domain.shape[1], 1)), table=op)


def _light_norm(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, lightnorm.InferOp)
    parameters = literal(op.activation_parameters)
    assert isinstance(parameters, tuple)
    activation = activation_function(op.activation.data, tuple(float(one) for one in parameters))
    then = () if activation is None else ((activation, ()),)
    operands = (_operand(op.x, domain), table_source(op, domain))
    return Step(op, None, operands, norm=op.rounding.data, then=then)


def _softmax(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.SoftmaxOp | nn.LogSoftmaxOp)
    name = "softmax" if isinstance(op, nn.SoftmaxOp) else "log_softmax"
    axis = int(op.axis.value.data) % len(domain.shape)
    return Step(op, VectorFunction(name), (_operand(op.x, domain),), row=(axis,))


def _layer_norm(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.LayerNormOp)
    rank = len(domain.shape)
    vectors = [op.gamma] if op.beta is None else [op.gamma, op.beta]
    operands = [Source(value, trailing_rules(value, domain.shape)) for value in vectors]
    function = VectorFunction("layer_norm", (op.eps.value.data,))
    row = tuple(range(int(op.axis.value.data) % rank, rank))
    return Step(op, function, (_operand(op.x, domain), *operands), row=row)


def _reduction(name: str) -> StepBuilder:
    def build(op: Operation, domain: Domain) -> Step:
        assert isinstance(op, nn.ReduceOp)
        rules, taps = reduced_rules(op)
        return Step(op, VectorFunction(name if taps else "copy"), (Source(op.x, rules),), taps=taps)

    return build


def _reduce_max_grad(op: Operation, domain: Domain) -> Step:
    """g stands still along what the maximum was taken over, which is one row."""
    assert isinstance(op, nn.ReduceMaxGradOp)
    rank, axes = len(domain.shape), literal(op.axes)
    assert isinstance(axes, tuple)
    row = tuple(sorted(int(axis) % rank for axis in axes))
    kept = [dim for dim in range(rank) if dim not in row]
    rules = tuple(
        AxisRule(dim if op.keepdims.value.data else kept.index(dim), domain.shape[dim], dim) for dim in kept
    )
    function = VectorFunction("reduce_max_grad")
    return Step(op, function, (Source(op.g, rules), _operand(op.x, domain)), row=row)


def _max_pool(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.MaxPoolOp)
    rules, taps = window_rules(op)
    source = Source(op.x, rules, window_fill(op))
    return Step(op, VectorFunction("window_max"), (source,), taps=taps)


def _average_pool(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.AveragePoolOp)
    rules, taps = window_rules(op)
    counts = tuple(AxisRule(dim - 2, domain.shape[dim], dim) for dim in range(2, len(domain.shape)))
    source = Source(op.x, rules, window_fill(op))
    then = ((VectorFunction("div"), (Source(op.out, counts, table=op),)),)
    return Step(op, VectorFunction("window_sum"), (source,), taps=taps, then=then)


def _slice(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.SliceOp)
    return Step(op, None, (Source(op.x, slice_rules(op, domain.order)),))


def _transpose(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.TransposeOp)
    return Step(op, None, (Source(op.x, transpose_rules(op, domain.order)),))


def _expand(op: Operation, domain: Domain) -> Step:
    """The operand's own dimensions are loaded; copying repeats them."""
    assert isinstance(op, nn.ExpandOp)
    return Step(op, VectorFunction("copy"), (_operand(op.x, domain),))


def _pad(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.PadOp)
    return Step(op, None, (Source(op.x, pad_rules(op, domain.order), op.value.value.data),))


def _gather(op: Operation, domain: Domain) -> Step:
    assert isinstance(op, nn.GatherOp)
    box = broadcast_rules(op.out, domain.shape, domain.order)
    return Step(op, None, (Source(op.x, box, gather=op),))


STEPS: dict[type[Operation], StepBuilder] = {
    **dict.fromkeys(ELEMENTWISE_FUNCTIONS, _elementwise),
    nn.AveragePoolOp: _average_pool,
    nn.BatchNormOp: _batch_norm,
    nn.ExpandOp: _expand,
    nn.GatherOp: _gather,
    nn.LayerNormOp: _layer_norm,
    nn.LogSoftmaxOp: _softmax,
    nn.MaxPoolOp: _max_pool,
    nn.PadOp: _pad,
    nn.ReduceMaxGradOp: _reduce_max_grad,
    nn.ReduceMaxOp: _reduction("reduce_max"),
    nn.ReduceMeanOp: _reduction("reduce_mean"),
    nn.ReduceSumOp: _reduction("reduce_sum"),
    nn.SliceOp: _slice,
    nn.SoftmaxOp: _softmax,
    nn.TransposeOp: _transpose,
    lightnorm.InferOp: _light_norm,
}
"""Ops of vector groups; :class:`bfp.QuantizeOp` joins them as a stage."""


def step_of(op: Operation, domain: Domain) -> Step:
    """How ``op`` is computed on tiles of ``domain``; KeyError for an op that is not in the table."""
    return STEPS[type(op)](op, domain)


def granules(op: Operation, domain: Domain) -> dict[int, int]:
    """What tiles of some dimensions have to be multiples of (or the whole dimension) for ``op``."""
    if isinstance(op, lightnorm.InferOp):
        return {1: CHANNEL_GROUP}
    if isinstance(op, nn.SoftmaxOp | nn.LogSoftmaxOp | nn.LayerNormOp | nn.ReduceMaxGradOp):
        return {dim: domain.shape[dim] for dim in step_of(op, domain).row}
    if isinstance(op, bfp.QuantizeOp):
        assert isinstance(op.out.type, bfp.BlockTensorType)
        dim = grouped_dim(op.out)
        byte = 2 if op.out.type.mantissa_bits.data == 4 else 1
        return {dim: lcm(op.out.type.get_tile()[dim], byte)}
    return {}
