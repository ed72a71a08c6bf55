"""What a schedule says of DRAM: how much is used, what waits for the backward pass, what is quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.ir import bfp
from flexc.ir.attributes import SourceAttr
from flexc.ir.bfp import BlockTensorType
from flexc.ir.placement import TABLE, Placement, group_of, placement_of
from flexc.ir.program import Graph
from flexc.passes.allocate import base_of, padded_bytes
from flexc.passes.differentiation.kept import kept_for_backward
from flexc.passes.differentiation.signature import LOSS
from flexc.schedule import DramUse, KeptTensor, NodeSchedule, QuantizationSchedule
from flexc.target import Target

Placements = Mapping[SSAValue, Placement]
Names = Mapping[SSAValue, str]


def dram_use(graph: Graph, names: Names, placements: Placements, target: Target) -> DramUse:
    """Of an allocated graph; ``placements`` are those of all values in DRAM."""
    block = graph.main.body.block
    tables = [table for op in block.ops if (table := placement_of(op, TABLE)) is not None]
    end = block.last_op
    assert isinstance(end, ReturnOp)
    outputs = {base_of(value) for value in end.operands}
    constants = {op.results[0] for op in block.ops if op.results and not op.operands and group_of(op) is None}
    fixed = {*block.args, *constants, *outputs}
    ends = [
        plane.address_bytes + plane.size_bytes
        for placement in (*placements.values(), *tables)
        for plane in placement.planes
        if plane.address_bytes is not None
    ]
    return DramUse(
        capacity_bytes=target.dram_capacity_bytes,
        peak_bytes=max(ends, default=0),
        fixed_bytes=sum(
            padded_bytes(placement)
            for placement in (*(placements[value] for value in fixed if value in placements), *tables)
        ),
        kept_for_backward=tuple(_kept(graph, names, placements, fixed)),
    )


def _kept(graph: Graph, names: Names, placements: Placements, fixed: set[SSAValue]) -> Iterator[KeptTensor]:
    if LOSS not in graph.output_names:
        return
    for value in dict.fromkeys(base_of(value) for value in kept_for_backward(graph)):
        placement = placements.get(value)
        if placement is None or value in fixed or not isinstance(value.owner, Operation):
            continue
        source = value.owner.attributes.get("source")
        size = sum(plane.size_bytes for plane in placement.planes)
        node = node_schedule(source) if isinstance(source, SourceAttr) else None
        yield KeptTensor(names[value], node, size, placement.planes[0].format)


def quantizations(
    ops: Sequence[Operation], names: Names, placements: Placements
) -> Iterator[QuantizationSchedule]:
    """What each quantization of a group is made from."""
    made = {value for op in ops for value in op.results}
    for op in ops:
        if not isinstance(op, bfp.QuantizeOp):
            continue
        source, stored = base_of(op.x), op.x not in made
        stored_format = placements[source].planes[0].format if stored else "f32"
        assert isinstance(op.out.type, BlockTensorType)
        yield QuantizationSchedule(
            names[op.out], format_text(op.out.type), names[source], stored_format, stored
        )


def node_schedule(source: SourceAttr) -> NodeSchedule:
    """The ONNX node that an op came from."""
    return NodeSchedule(source.node_name.data, source.op_type.data, source.node_index.data)


def format_text(block: BlockTensorType) -> str:
    """A block format in short: mantissa bits, and the box that shares an exponent."""
    return f"m{block.mantissa_bits.data} {'x'.join(map(str, block.get_tile()))}"
