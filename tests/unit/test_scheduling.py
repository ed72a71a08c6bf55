"""The schedule of a program: sums over groups, traffic by tensor, buffers, mappings, limits."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from math import ceil, prod

import numpy as np
import pytest

import flexc
from flexc.diagnostics import CompileError
from flexc.program import Program
from flexc.schedule import GroupSchedule, Schedule
from flexc.scheduling import schedule_of
from flexc.target import Target, load_target
from tests.inspected_model import residual_model
from tests.onnx_models import build, make_node, random, save

TARGETS = ("flexblock", "flexblock-edge")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """The residual model on each target."""
    path = save(residual_model(), tmp_path_factory.mktemp("model"))
    return {name: flexc.compile(path, target=name) for name in TARGETS}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return load_target(request.param)


@pytest.fixture
def schedule(programs: dict[str, Program], target: Target) -> Schedule:
    return programs[target.name].schedule


def group_of(schedule: Schedule, kind: str, node: str) -> GroupSchedule:
    (found,) = (one for one in schedule.groups if one.kind == kind and one.label == node)
    return found


def test_groups_add_up_to_the_program(schedule: Schedule) -> None:
    for field in ("macs", "read_bytes", "written_bytes"):
        assert sum(getattr(group, field) for group in schedule.groups) == getattr(schedule, field)
    for engine, cycles in schedule.busy_cycles.items():
        parts = [group.engines[engine].busy_cycles for group in schedule.groups if engine in group.engines]
        assert sum(parts) == cycles
    assert max(group.end_cycle for group in schedule.groups) == schedule.cycles
    assert schedule.milliseconds == pytest.approx(schedule.cycles / 500e3)


def test_engines_work_within_their_groups(schedule: Schedule) -> None:
    for group in schedule.groups:
        assert group.start_cycle == min(use.start_cycle for use in group.engines.values())
        assert group.end_cycle == max(use.end_cycle for use in group.engines.values())
        for use in group.engines.values():
            assert use.busy_cycles <= use.end_cycle - use.start_cycle


def test_traffic_by_tensor_adds_up(schedule: Schedule) -> None:
    for group in schedule.groups:
        assert group.traffic
        assert len({one.tensor for one in group.traffic}) == len(group.traffic)
        assert sum(one.read_bytes for one in group.traffic) == group.read_bytes
        assert sum(one.written_bytes for one in group.traffic) == group.written_bytes


def test_what_a_group_reads_was_given_or_written_before(schedule: Schedule) -> None:
    written = {"x"}
    for group in schedule.groups:
        names = {one.tensor for one in group.traffic if one.read_bytes}
        weights = {name for name in names if re.fullmatch(r"w\d_m8|.* constants", name)}
        assert names - weights <= written
        written |= {one.tensor for one in group.traffic if one.written_bytes}
    assert "y" in written


def test_traffic_of_groups_that_touch_each_element_once(schedule: Schedule) -> None:
    """2 x 40 x 12 x 12 elements: fp32 takes 4 bytes, LightNorm's result 10 bits, FB16 8 bits and an exponent
    for each of the 288 groups of channels."""
    elements, groups = 11520, 288
    first = {one.tensor: one for one in group_of(schedule, "convert", "block.conv1").traffic}
    assert (first["x"].read_bytes, first["x"].written_bytes) == (4 * elements, 0)
    assert (first["x_m8"].read_bytes, first["x_m8"].written_bytes) == (0, elements + groups)
    added = {one.tensor: one for one in group_of(schedule, "elementwise", "block.add").traffic}
    assert {name: one.read_bytes for name, one in added.items()} == {
        "n2": elements * 10 // 8,
        "x": 4 * elements,
        "r2": 0,
    }
    assert added["r2"].written_bytes == 4 * elements


def test_buffers_fit(schedule: Schedule, target: Target) -> None:
    capacity = {
        "operand": target.operand_buffer_bytes,
        "held": target.held_buffer_bytes,
        "psum": target.psum_buffer_bytes,
    }
    for group in schedule.groups:
        used: dict[str, int] = defaultdict(int)
        for one in group.buffers:
            share = one.size_bytes if one.per_core else ceil(one.size_bytes / target.cores)
            used[one.memory] += share * one.depth
            assert one.holds, f"group {group.index} has a slot that nothing uses"
        for memory, size in used.items():
            assert 0 < size <= capacity[memory], (group.index, memory)


def test_groups_name_the_nodes_they_come_from(schedule: Schedule) -> None:
    """The quantization inside the first contraction is part of what reads it, and makes no node of it."""
    assert [node.name for node in group_of(schedule, "contraction", "block.conv1").nodes] == [
        "block.conv1",
        "block.bn1",
    ]
    assert [str(node) for node in group_of(schedule, "elementwise", "block.add").nodes] == [
        "'block.add' (Add, node 5)",
        "'block.relu2' (Relu, node 6)",
    ]
    assert [node.name for node in group_of(schedule, "convert", "fc").nodes] == ["fc"]


def test_contractions_have_the_work_of_the_model(schedule: Schedule) -> None:
    conv = group_of(schedule, "contraction", "block.conv2")
    (found,) = conv.contractions
    assert found.result == "c2"
    assert found.macs == conv.macs == 2 * 12 * 12 * 40 * 40 * 9 == prod(found.extents.values())
    assert found.multiplier_cycles == 4 * found.macs, "8 by 8 bits are four products of 4 by 4"
    assert found.formats == ("m8 1x40x1x1", "m8 1x40x1x1")
    assert 0 < found.utilization <= 1
    assert conv.energy_by_component_pj.multipliers > 0


def test_utilization_is_work_over_cycles(schedule: Schedule, target: Target) -> None:
    working = sum(one.multiplier_cycles for group in schedule.groups for one in group.contractions)
    multipliers = 9 * 96 * target.cores
    assert schedule.end_to_end_utilization == pytest.approx(working / (schedule.cycles * multipliers))
    computing = schedule.busy_cycles["cores"] * multipliers
    assert schedule.spatial_utilization == pytest.approx(working / computing)
    for group in schedule.groups:
        part = sum(one.multiplier_cycles for one in group.contractions)
        assert group.end_to_end_utilization == pytest.approx(part / (group.cycles * multipliers))


def test_levels_cover_the_problem(schedule: Schedule) -> None:
    """DRAM loops over cores over buffer tiles: at least every extent, and less than one more round."""
    for contraction in (one for group in schedule.groups for one in group.contractions):
        assert [one.level for one in contraction.levels] == [
            "DRAM", "core", "buffer tile", "PE", "unit", "lane",
        ]  # fmt: skip
        trips, cores, tile = (
            {dim: int(count) for dim, count in re.findall(r"(\w) (\d+)", one.loops)}
            for one in contraction.levels[:3]
        )
        for dim, extent in contraction.extents.items():
            chip_tile = cores.get(dim, 1) * tile.get(dim, 1)
            assert trips.get(dim, 1) == ceil(extent / chip_tile), (contraction.result, dim)


@pytest.mark.parametrize(
    ("rate", "kind", "node", "limit"),
    [
        ({"dram_bytes_per_second": 1e8}, "contraction", "block.conv2", "DRAM"),
        ({"dram_bytes_per_second": 1e8}, "elementwise", "block.add", "DRAM"),
        ({"converter_elements_per_cycle": 1}, "convert", "block.conv1", "converter"),
        ({"vector_elements_per_cycle": 1}, "elementwise", "block.add", "vector unit"),
        ({"lightnorm_elements_per_cycle": 1}, "contraction", "block.conv2", "LightNorm unit"),
        # One tile, for which the load, the vector unit and the store take turns of a third each.
        ({"vector_elements_per_cycle": 40}, "elementwise", "block.add", "latency"),
        (
            {"dram_bytes_per_second": 1e13, "psum_words_per_cycle": 1},
            "contraction",
            "block.conv2",
            "psum",
        ),
    ],
)
def test_the_slow_part_is_the_limit(
    programs: dict[str, Program], rate: dict[str, float], kind: str, node: str, limit: str
) -> None:
    """The rates of engines do not change the instructions, so the same stream runs on a slowed machine."""
    program = programs["flexblock"]
    slowed = replace(load_target("flexblock"), **rate)  # type: ignore[arg-type]
    found = schedule_of(program.graph, program.stream, slowed)
    assert group_of(found, kind, node).limit == limit
    assert found.read_bytes == program.schedule.read_bytes


def test_one_group_in_fp32(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = build([make_node("Relu", ["x"], ["y"], name="r")], {"x": random(3, 5)})
    program = flexc.compile(save(model, tmp_path_factory.mktemp("relu")))
    (group,) = program.schedule.groups
    assert [(one.tensor, one.read_bytes, one.written_bytes) for one in group.traffic] == [
        ("x", 60, 0),
        ("y", 0, 60),
    ]
    assert (group.macs, group.contractions, program.schedule.spatial_utilization) == (0, (), 0.0)
    assert np.isfinite(program.schedule.milliseconds)


def test_json_comes_back(schedule: Schedule) -> None:
    assert Schedule.from_json(schedule.to_json()) == schedule


def test_a_schedule_of_another_version_is_refused(schedule: Schedule) -> None:
    older = schedule.to_json().replace('"schema_version": 2', '"schema_version": 1', 1)
    with pytest.raises(CompileError, match="schedule version 1") as failure:
        Schedule.from_json(older, "a/schedule.json")
    (found,) = failure.value.diagnostics
    assert (found.code, found.place.file) == ("FX514", "a/schedule.json")
