"""Groups of the schedule: every op has a place, groups run in order, plans fit the buffers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.func import ReturnOp
from xdsl.irdl import IRDLOperation

from flexc.backends.stream.isa import CORE_AXES, DIMS, LOOP_LEVELS
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.diagnostics import CompileError
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.placement import group_of, placement_of
from flexc.ir.program import Graph, parse_module
from flexc.options import CompileOptions
from flexc.passes.allocate import Allocate
from flexc.passes.schedule import CONSTANTS, Schedule, place_arguments
from flexc.passes.scheduling import limits
from flexc.passes.scheduling.box_copies import BOX_OPS
from flexc.passes.scheduling.buffer_slots import BufferPlan
from flexc.passes.scheduling.group_rules import CONTRACTIONS, RIDING, STANDING_ALONE
from flexc.passes.scheduling.grouping import Grouping, has_tile_program
from flexc.passes.scheduling.vector_functions import ELEMENTWISE_FUNCTIONS
from flexc.passes.scheduling.vector_plan import largest_tile
from flexc.passes.scheduling.vector_steps import STEPS, Domain
from flexc.target import load_target
from tests.onnx_models import build, make_node, random
from tests.stream_agreement import compile_graph

TARGET = load_target("flexblock")


def all_ops() -> list[type[IRDLOperation]]:
    ops = [*nn.NN.operations, *bfp.BFP.operations, *lightnorm.LIGHTNORM.operations]
    return [op for op in ops if issubclass(op, IRDLOperation)]


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: str(op.name))
def test_every_op_has_a_tile_program(op: type[IRDLOperation]) -> None:
    """A pad is in two tables: with a constant it is a load, otherwise boxes."""
    tables = (CONTRACTIONS, CONSTANTS, STANDING_ALONE, RIDING, STEPS, BOX_OPS)
    assert sum(op in table for table in tables) == (2 if op is nn.PadOp else 1)
    assert has_tile_program(op)


def test_elementwise_functions_are_those_of_the_vector_unit() -> None:
    by_name = {spec.name: spec for spec in FUNCTIONS}
    assert all(by_name[name].kind == "elementwise" for name in ELEMENTWISE_FUNCTIONS.values())


def residual_block(folder: Path) -> Graph:
    constants = {
        "w1": random(40, 40, 3, 3),
        "w2": random(40, 40, 3, 3),
        **{name: np.abs(random(40, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))},
    }
    nodes = [
        make_node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
        make_node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"]),
        make_node("Relu", ["n1"], ["r1"]),
        make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4),
        make_node("BatchNormalization", ["c2", "g", "b", "m", "v"], ["n2"]),
        make_node("Add", ["n2", "x"], ["s"]),
        make_node("Relu", ["s"], ["r2"]),
        make_node("GlobalAveragePool", ["r2"], ["p"]),
        make_node("Flatten", ["p"], ["y"]),
    ]
    return compile_graph(build(nodes, {"x": random(2, 40, 12, 12)}, constants), folder, CompileOptions())


def test_groups_run_after_what_they_read(tmp_path: Path) -> None:
    graph = residual_block(tmp_path)
    for op in graph.main.body.block.ops:
        group = group_of(op)
        if group is None:
            assert isinstance(op, (*CONSTANTS, nn.ReshapeOp, ReturnOp))
            continue
        for operand in op.operands:
            producer = operand.owner
            before = group_of(producer) if isinstance(producer, IRDLOperation) else None
            if before is None:
                continue
            assert before.index <= group.index
            # What crosses groups goes through DRAM; what does not, need not.
            assert before.index == group.index or placement_of(producer) is not None


def test_a_residual_block_is_five_groups(tmp_path: Path) -> None:
    graph = residual_block(tmp_path)
    names = [
        [op.name for op in graph.main.body.block.ops if (g := group_of(op)) is not None and g.index == index]
        for index in range(5)
    ]
    assert names == [
        ["bfp.quantize"],
        ["bfp.conv", "lightnorm.infer", "bfp.quantize"],
        ["bfp.conv", "lightnorm.infer"],
        ["nn.add", "nn.relu"],
        ["nn.reduce_mean"],
    ]


UNSUPPORTED = {
    "FX416": (
        "%x: tensor<1x2x5x5x5xf32>, %w: tensor<4x2x3x3x3xf32>",
        "nn.conv %x, %w {stride = array<i64: 1, 1, 1>, pads = array<i64: 0, 0, 0, 0, 0, 0>, "
        "dilation = array<i64: 1, 1, 1>, group = 1 : i64} : tensor<1x2x5x5x5xf32>, tensor<4x2x3x3x3xf32> "
        "-> tensor<1x4x3x3x3xf32>",
    ),
    "FX423": (
        "%x: tensor<2x2x2x2x2x2x2x2x2xf32>",
        "nn.relu %x : tensor<2x2x2x2x2x2x2x2x2xf32> -> tensor<2x2x2x2x2x2x2x2x2xf32>",
    ),
    "FX425": (
        "%x: tensor<6x8xf32>",
        'bfp.quantize %x {rounding = "nearest", seed = 0 : i64, stream = 0 : i64} : tensor<6x8xf32> '
        "-> !bfp.tensor<6x8, m8, tile [1, 8], separate>",
    ),
    "FX429": (
        "%s: tensor<i64>",
        "train.dropout_mask %s {ratio = 0.5 : f32, seed = 0 : i64, node = 4095 : i64} : tensor<i64> "
        "-> tensor<5x3xf32>",
    ),
    "FX427": ("%x: tensor<3x0xf32>", "nn.relu %x : tensor<3x0xf32> -> tensor<3x0xf32>"),
    "FX428": (
        "%x: !bfp.tensor<1x6x5x5, m4, tile [1, 6, 1, 1]>, %w: !bfp.tensor<4x3x1x1, m4, tile [1, 3, 1, 1]>",
        "bfp.conv %x, %w {stride = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, "
        "dilation = array<i64: 1, 1>, group = 2 : i64} : !bfp.tensor<1x6x5x5, m4, tile [1, 6, 1, 1]>, "
        "!bfp.tensor<4x3x1x1, m4, tile [1, 3, 1, 1]> -> tensor<1x4x5x5xf32>",
    ),
}


@pytest.mark.parametrize("code", UNSUPPORTED)
def test_what_the_machine_does_not_compute_is_an_error(code: str) -> None:
    arguments, op = UNSUPPORTED[code]
    graph = Graph(parse_module(f"func.func @main({arguments}) {{\n  %y = {op}\n  func.return\n}}"))
    with pytest.raises(CompileError, match=code):
        Schedule().run(graph)


def test_limits_are_those_of_the_instructions() -> None:
    assert (limits.BOX_DIMS, limits.LOOP_LEVELS, limits.CORE_AXES) == (DIMS, LOOP_LEVELS, CORE_AXES)


def test_plans_are_the_same_when_made_again(tmp_path: Path) -> None:
    graph = residual_block(tmp_path)
    before = str(graph.module)
    assert Schedule().run(graph)
    again = str(graph.module)
    assert not Schedule().run(graph)
    assert str(graph.module) == again != before
    assert Allocate().run(graph)
    assert not Allocate().run(graph)
    assert str(graph.module) == before


@pytest.mark.parametrize("cores", [1, 3, 16])
def test_slots_do_not_overlap(cores: int) -> None:
    buffers = BufferPlan(replace(TARGET, cores=cores))
    for i in range(4):
        buffers.take(f"core {i}", "psum", 100 + i, depth=2, per_core=True)
        buffers.take_striped(f"chip {i}", 1000 + i, depths=(2, 1), buffers=("psum", "held"))
    end = 0
    for slot in (one for one in buffers.slots if one.buffer == "psum"):
        assert slot.address_bytes == end
        share = slot.size_bytes if slot.per_core else -(-slot.size_bytes // cores)
        end += share * slot.depth
    assert end == buffers.used_bytes("psum") <= TARGET.psum_buffer_bytes


def test_striped_slots_go_where_room_is() -> None:
    buffers = BufferPlan(replace(TARGET, cores=1))
    buffers.take("accumulators", "psum", 30_000, depth=1, per_core=True)
    found = buffers.take_striped("staged", 2_000, depths=(2, 1), buffers=("psum", "held"))
    assert (found.buffer, found.depth) == ("held", 2)
    buffers.take("weights", "held", 26_000, depth=1, per_core=True)
    found = buffers.take_striped("more", 2_500, depths=(2, 1), buffers=("psum", "held"))
    assert (found.buffer, found.depth) == ("psum", 1)
    assert buffers.overflow is None
    buffers.take_striped("too much", 20_000, depths=(2, 1), buffers=("psum", "held"))
    assert buffers.overflow is not None
    assert [label for label, _ in buffers.overflow.demands] == ["accumulators", "more", "too much"]


@pytest.mark.parametrize(
    ("shape", "granule", "most", "expected"),
    [
        ((4, 6, 10), {}, 1000, (4, 6, 10)),
        ((4, 6, 10), {}, 130, (2, 6, 10)),
        ((4, 6, 10), {}, 239, (2, 6, 10)),
        ((4, 6, 10), {}, 45, (1, 3, 10)),
        ((4, 6, 10), {}, 9, (1, 1, 5)),
        ((4, 6, 10), {2: 4}, 9, (1, 1, 8)),
        ((4, 6, 10), {2: 10}, 10, (1, 1, 10)),
        ((4, 6, 10), {1: 5}, 55, (1, 5, 10)),
        ((4, 6, 10), {2: 10}, 9, None),
    ],
)
def test_the_largest_tile_is_cut_in_one_dimension(
    shape: tuple[int, ...], granule: dict[int, int], most: int, expected: tuple[int, ...] | None
) -> None:
    domain = Domain(shape, (0, 1, 2))
    assert largest_tile(domain, granule, lambda tile: int(np.prod(tile)) <= most) == expected


def test_tiles_are_cut_in_the_order_of_dram() -> None:
    domain = Domain((4, 6, 10), (2, 0, 1))
    assert largest_tile(domain, {}, lambda tile: int(np.prod(tile)) <= 50) == (4, 6, 2)


def test_a_contraction_that_does_not_fit_is_an_error() -> None:
    text = """func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x4xf32>) -> tensor<4x4xf32> {
  %y = nn.matmul %a, %b : tensor<4x8xf32>, tensor<8x4xf32> -> tensor<4x4xf32>
  func.return %y : tensor<4x4xf32>
}"""
    graph = Graph(parse_module(text))
    grouping = Grouping(graph, replace(TARGET, psum_buffer_bytes=4))
    place_arguments(grouping)
    product = graph.main.body.block.first_op
    assert product is not None
    with pytest.raises(CompileError, match="accumulators 8") as found:
        grouping.add(product)
    assert "psum buffer, which has 4" in str(found.value)
