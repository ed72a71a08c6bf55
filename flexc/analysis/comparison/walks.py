"""How groups without a contraction walk their results: extents, granules, and what is on chip meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from math import lcm, prod
from typing import TypeAlias

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from flexc.analysis.comparison.vector_work import vector_work
from flexc.analysis.comparison.workload import Followed, Storage, Tensor, Walk, WalkOrder
from flexc.ir import bfp, nn
from flexc.ir.placement import Placement
from flexc.passes.scheduling.box_copies import BoxCopy
from flexc.passes.scheduling.filter_quantize_plan import quantizes_filters
from flexc.passes.scheduling.group_rules import POOL_GRADIENTS
from flexc.passes.scheduling.layout import (
    FP10_RUN,
    PLAIN_FORMATS,
    grouped_dim,
    shape_of,
    storage_order,
)
from flexc.passes.scheduling.vector_plan import domain_of
from flexc.passes.scheduling.vector_steps import STEPS, Domain, Step, granules, step_of

CHANNEL = 1
Read: TypeAlias = SSAValue | Operation
"""What a group reads: a value, or the table of constants of an op."""


def walk_of(ops: Sequence[Operation], placements: Mapping[SSAValue, Placement]) -> Walk:
    """The walk of a group, by the rules of its tile program."""
    first = ops[0]
    if isinstance(first, POOL_GRADIENTS):
        return _walk_of_pool_gradient(first, placements)
    if isinstance(first, bfp.DequantizeOp):
        return _walk_of_dequantization(first, placements)
    if isinstance(first, nn.GatherGradOp):
        shape, axis = shape_of(first.out), int(first.axis.value.data)
        whole_axis = tuple(extent if dim == axis % len(shape) else 1 for dim, extent in enumerate(shape))
        others = tuple(Followed(dim) for dim in range(len(shape)) if dim != axis % len(shape))
        results = (Tensor(prod(shape), "f32"),)
        return Walk(shape, whole_axis, results, cleared=True, follows=(others, ()))
    if quantizes_filters(first):
        shape = shape_of(first.operands[0])
        taps = prod(shape[2:])
        return Walk((shape[0], taps), (2, taps))
    domain = domain_of(ops, placements.__getitem__)
    steps = {op: step_of(op, domain) for op in ops if type(op) in STEPS}
    return _walk_of_domain(ops, domain, steps, placements)


def walk_of_steps(
    ops: Sequence[Operation],
    reads: Sequence[Read],
    stored: Collection[SSAValue],
    placements: Mapping[SSAValue, Placement],
    root: Callable[[SSAValue], SSAValue],
) -> Walk:
    """The walk of a vector group that reads ``reads`` and stores ``stored``, with what waits for what in it.

    ``root`` gives the value that lies where another does.
    """
    domain = domain_of(ops, placements.__getitem__)
    steps = {op: step_of(op, domain) for op in ops if type(op) in STEPS}
    return replace(
        _walk_of_domain(ops, domain, steps, placements),
        follows=_follows(ops, domain, steps, reads, root),
        order=_order(ops, reads, stored, root),
    )


def _walk_of_domain(
    ops: Sequence[Operation],
    domain: Domain,
    steps: Mapping[Operation, Step],
    placements: Mapping[SSAValue, Placement],
) -> Walk:
    granule: dict[int, int] = {}
    for op in ops:
        for dim, multiple in granules(op, domain).items():
            granule[dim] = lcm(granule.get(dim, 1), multiple)
    if any(_is_narrow(operand, placements, domain.shape) for op in ops for operand in op.operands):
        granule[CHANNEL] = lcm(granule.get(CHANNEL, 1), FP10_RUN)
    return Walk(
        tuple(domain.shape[dim] for dim in domain.order),
        tuple(min(granule.get(dim, 1), domain.shape[dim]) for dim in domain.order),
        tuple(_results(ops, domain, steps)),
    )


def walk_of_copy(copy: BoxCopy, placements: Mapping[SSAValue, Placement]) -> Walk:
    """The walk of one box of a result."""
    narrow = placements[copy.source.value].planes[0].format == "fp10"
    granule = {rule.follows: FP10_RUN for rule in copy.source.rules if narrow and rule.dim == CHANNEL}
    shape, order = copy.domain.shape, copy.domain.order
    return Walk(
        tuple(shape[dim] for dim in order), tuple(min(granule.get(dim, 1), shape[dim]) for dim in order)
    )


def _follows(
    ops: Sequence[Operation],
    domain: Domain,
    steps: Mapping[Operation, Step],
    reads: Sequence[Read],
    root: Callable[[SSAValue], SSAValue],
) -> tuple[tuple[Followed, ...], ...]:
    """For each of ``reads``, the extents of the walk that a tile of it depends on."""
    place = {dim: index for index, dim in enumerate(domain.order)}
    every = {index: Followed(index) for index in place.values()}
    found: dict[Read, dict[int, Followed]] = {}
    for op in ops:
        if isinstance(op, bfp.QuantizeOp):
            found.setdefault(root(op.x), {}).update(every)
            continue
        for source in steps[op].sources:
            read = root(source.value) if source.table is None else op
            dims = found.setdefault(read, {})
            for rule in source.rules:
                if rule.follows is not None:
                    at = place[rule.follows]
                    windows = rule.halo or rule.scale != rule.step
                    one = Followed(at, rule.scale, rule.start, rule.halo, rule.limit)
                    dims[at] = one if windows else Followed(at)
    in_order = (found.get(read, every) for read in reads)
    return tuple(tuple(follows[at] for at in sorted(follows)) for follows in in_order)


def _order(
    ops: Sequence[Operation],
    reads: Sequence[Read],
    stored: Collection[SSAValue],
    root: Callable[[SSAValue], SSAValue],
) -> WalkOrder:
    """What the steps wait for."""
    loads: list[frozenset[int]] = []
    # Of values of the group: functions behind which they are there; and of what was only loaded, its reads.
    functions: dict[SSAValue, int] = {}
    loaded: dict[Read, frozenset[int]] = {read: frozenset((place,)) for place, read in enumerate(reads)}
    converted: list[int] = []
    stored_behind: list[int] = []
    for op in ops:
        needed = loaded.get(op, frozenset[int]()).union(
            *(loaded.get(root(operand), ()) for operand in op.operands)
        )
        if isinstance(op, bfp.QuantizeOp):
            converted.append(functions.get(op.x, 0))
            continue
        count = sum(1 for _ in vector_work(op))
        loads += [needed] * count
        if not count:
            loaded[op.results[0]] = needed
        for result in op.results:
            functions[result] = len(loads)
            if result in stored:
                stored_behind.append(len(loads))
    return WalkOrder(tuple(loads), tuple(converted), tuple(stored_behind))


def _walk_of_pool_gradient(op: Operation, placements: Mapping[SSAValue, Placement]) -> Walk:
    """Images and channels, whole; the gradient of x and, of a maximum, where windows have theirs."""
    shape = shape_of(op.results[0])
    pooled = op.operands[0] if prod(shape_of(op.operands[0])) != prod(shape) else op.operands[1]
    narrow = any(_is_narrow(operand, placements, shape) for operand in op.operands)
    results = [Tensor(prod(shape), "f32")]
    if isinstance(op, nn.MaxPoolGradOp):
        results.append(Tensor(prod(shape_of(pooled)), "f32"))
    granules = (1, min(FP10_RUN if narrow else 1, shape[1]))
    follows = None if isinstance(op, nn.MaxPoolGradOp) else ((), (Followed(0), Followed(1)))
    return Walk(shape[:2], granules, tuple(results), cleared=True, follows=follows)


def _walk_of_dequantization(op: bfp.DequantizeOp, placements: Mapping[SSAValue, Placement]) -> Walk:
    """The grouped dimension innermost, in whole groups and bytes."""
    assert isinstance(op.x.type, bfp.BlockTensorType)
    shape, grouped = shape_of(op.x), grouped_dim(op.x)
    plane = placements[op.x].planes[0]
    others = tuple(shape[dim] for dim in storage_order(plane, shape) if dim != grouped)
    granule = lcm(op.x.type.get_tile()[grouped], 2 if plane.format == "m4" else 1)
    return Walk((*others, shape[grouped]), (*(1,) * len(others), min(granule, shape[grouped])))


def _is_narrow(value: SSAValue, placements: Mapping[SSAValue, Placement], shape: tuple[int, ...]) -> bool:
    """Whether ten-bit values are read along the channels of the results."""
    return placements[value].planes[0].format == "fp10" and shape_of(value) == shape


def _results(ops: Sequence[Operation], domain: Domain, steps: Mapping[Operation, Step]) -> Iterator[Tensor]:
    """Results that need a place of their own: not where they are what was loaded, or where another has died.

    What leaves the group or is quantized lives to the end.
    """
    elements = prod(domain.shape)
    last_use = {operand: index for index, op in enumerate(steps) for operand in op.operands}
    free: list[Storage] = []
    made: set[SSAValue] = set()
    for index, op in enumerate(steps):
        if steps[op].only_loads:
            continue
        for operand in dict.fromkeys(op.operands):
            if operand in made and last_use[operand] == index and not _lives_on(operand, ops):
                free.append(plain_storage(operand))
        storage = plain_storage(op.results[0])
        made.add(op.results[0])
        if storage in free:
            free.remove(storage)
        else:
            yield Tensor(elements, storage)


def _lives_on(value: SSAValue, ops: Sequence[Operation]) -> bool:
    readers = [use.operation for use in value.uses]
    return any(reader not in ops or isinstance(reader, bfp.QuantizeOp) for reader in readers)


def plain_storage(value: SSAValue) -> Storage:
    """The format of a plain tensor between groups."""
    assert isinstance(value.type, TensorType)
    match PLAIN_FORMATS[value.type.element_type]:
        case "i64":
            return "i64"
        case "i32":
            return "i32"
        case "i1":
            return "i1"
        case _:
            return "result"
