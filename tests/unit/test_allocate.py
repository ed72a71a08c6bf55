"""Addresses in DRAM: values that are needed at one time do not overlap, and others share memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from flexc.diagnostics import CompileError
from flexc.ir import nn
from flexc.ir.attributes import integers
from flexc.ir.placement import ARGUMENT_PLACEMENTS, TABLE, Placement, group_of, placement_of, placements_in
from flexc.ir.program import Graph
from flexc.options import CompileOptions
from flexc.passes.allocate import ALIGNMENT_BYTES, Allocate, base_of
from flexc.passes.manager import run_pipeline
from flexc.passes.schedule import Schedule
from tests.onnx_models import build, make_node, random
from tests.stream_agreement import compile_graph

Range = tuple[int, int]


def ranges(placement: Placement) -> Iterator[Range]:
    for plane in placement.planes:
        assert plane.address_bytes is not None
        assert plane.address_bytes % ALIGNMENT_BYTES == 0
        yield plane.address_bytes, plane.address_bytes + plane.size_bytes


def check(graph: Graph) -> int:
    """Fails where two values share bytes while both are needed; returns the end of what is used."""
    block = graph.main.body.block
    last = len(list(block.ops))
    kept: list[Range] = []
    for argument in placements_in(graph.main.attributes[ARGUMENT_PLACEMENTS]):
        kept += ranges(argument)
    lives: list[tuple[Range, int, int]] = []
    outputs = {base_of(value) for value in block.last_op.operands} if block.last_op is not None else set()
    readers: dict[SSAValue, int] = {}
    for op in block.ops:
        group = group_of(op)
        if group is None:
            continue
        for operand in op.operands:
            readers[base_of(operand)] = max(readers.get(base_of(operand), 0), group.index)
    for op in block.ops:
        table, placement, group = placement_of(op, TABLE), placement_of(op), group_of(op)
        if table is not None:
            kept += ranges(table)
        if placement is None or base_of(op.results[0]) is not op.results[0]:
            continue
        if group is None:
            kept += ranges(placement)
            continue
        end = last if op.results[0] in outputs else readers.get(op.results[0], group.index)
        lives += [(one, group.index, end) for one in ranges(placement)]
    everything = lives + [(one, 0, last) for one in kept]
    for (one, first, end), (other, other_first, other_end) in itertools.combinations(everything, 2):
        together = first <= other_end and other_first <= end
        assert not together or one[1] <= other[0] or other[1] <= one[0]
    return max(end for (_, end), _, _ in everything)


def chain(links: list[tuple[int, int]], outputs: list[int]) -> Graph:
    """Sums of pairs of earlier values, each transposed so that it is a group of its own."""
    tensor = TensorType(f32, (5, 5))
    block = Block(arg_types=[tensor])
    values: list[SSAValue] = [block.args[0]]
    for first, second in links:
        pair = (values[first % len(values)], values[second % len(values)])
        total = nn.AddOp.create(operands=pair, result_types=[tensor])
        moved = nn.TransposeOp.create(
            operands=[total.out], result_types=[tensor], attributes={"permutation": integers((1, 0))}
        )
        block.add_ops([total, moved])
        values.append(moved.out)
    returned = [values[index % len(values)] for index in outputs]
    block.add_op(ReturnOp(*returned))
    function = FuncOp("main", ([tensor], [tensor] * len(returned)), Region(block))
    return Graph(ModuleOp([function]))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10),
    st.lists(st.integers(0, 10), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_nothing_overlaps(links: list[tuple[int, int]], outputs: list[int]) -> None:
    graph = chain(links, outputs)
    run_pipeline(graph, (Schedule(), Allocate()))
    check(graph)


def test_a_long_chain_takes_little_memory() -> None:
    graph = chain([(index, index) for index in range(30)], [30])
    run_pipeline(graph, (Schedule(), Allocate()))
    assert check(graph) <= 5 * 128


def test_a_network(tmp_path: Path) -> None:
    constants = {
        "w1": random(40, 40, 3, 3),
        "w2": random(9, 40, 1, 1),
        **{name: np.abs(random(40, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
        make_node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"]),
        make_node("Add", ["n1", "x"], ["s"]),
        make_node("AveragePool", ["s"], ["p"], kernel_shape=[2, 2]),
        make_node("Conv", ["p", "w2"], ["c2"]),
        make_node("Flatten", ["c2"], ["y"]),
    ]
    model = build(nodes, {"x": random(2, 40, 6, 6)}, constants, outputs=("y", "x"))
    check(compile_graph(model, tmp_path, CompileOptions()))


def test_too_small_a_dram(tmp_path: Path) -> None:
    target = tmp_path / "small.toml"
    catalog = Path(__file__).parents[2] / "flexc" / "target" / "catalog" / "flexblock.toml"
    target.write_text(catalog.read_text().replace("8_589_934_592", "65_536"))
    model = build([make_node("Relu", ["x"], ["y"])], {"x": random(200, 200)})
    with pytest.raises(CompileError, match="FX422") as found:
        compile_graph(model, tmp_path, CompileOptions(target=str(target)))
    assert "320000 bytes of DRAM, of which 'flexblock' has 65536" in str(found.value)
