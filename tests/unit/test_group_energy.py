"""The energy of a scheduled program, against the target's table and the closed form of comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import flexc
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.backends.stream.emit import emit_stream
from flexc.backends.stream.timing import simulate
from flexc.cost.energy_breakdown import COMPONENT_WORDS, COMPONENTS, EnergyBreakdown
from flexc.ir.program import INPUTS, OUTPUTS, Graph, name_array, parse_module
from flexc.options import BatchNorm
from flexc.passes.allocate import Allocate
from flexc.passes.manager import run_pipeline
from flexc.passes.schedule import Schedule as ScheduleGroups
from flexc.schedule import Schedule
from flexc.scheduling import schedule_of
from flexc.target import load_target
from tests.inspected_model import residual_model
from tests.onnx_models import save

TARGET = load_target("flexblock")
ELEMENTS = 2 * 40 * 12 * 12
"""Of each of the model's image tensors, padding apart."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(residual_model(), tmp_path_factory.mktemp("energy"))


@pytest.fixture(scope="module")
def schedule(path: Path) -> Schedule:
    return flexc.compile(path, policy="FB16").schedule


def test_components_are_those_of_the_comparison(path: Path, schedule: Schedule) -> None:
    workload = load_compared_model(path, train=False, batch=None).workload("FB16", BatchNorm.LIGHTNORM)
    compared = model_cost(workload, FlexBlockMachine(TARGET)).total.energy
    found = schedule.energy_by_component_pj.by_component()
    assert found == pytest.approx(compared.by_component())
    assert min(found.values()) > 0
    assert list(found) == list(COMPONENTS) == list(COMPONENT_WORDS)


def test_groups_add_up(schedule: Schedule) -> None:
    parts = [group.energy_by_component_pj for group in schedule.groups]
    assert sum(parts, EnergyBreakdown()) == schedule.energy_by_component_pj
    assert schedule.energy_pj == pytest.approx(sum(group.energy_pj for group in schedule.groups))


def test_engines_beside_the_cores_take_energy_for_the_elements_that_they_work_on(schedule: Schedule) -> None:
    """The target's energies, by hand: an add and a rectification between two quantizations and two norms."""
    (add,) = (group for group in schedule.groups if group.label == "block.add")
    assert add.energy_by_component_pj.vector == pytest.approx(2 * ELEMENTS * 3.7)
    norms = [group.energy_by_component_pj.lightnorm for group in schedule.groups]
    assert sum(norms) == pytest.approx(2 * ELEMENTS * 1.5)
    moved = schedule.read_bytes + schedule.written_bytes
    assert schedule.energy_by_component_pj.dram == pytest.approx(8 * moved * TARGET.dram_pj_per_bit)


def test_lanes_without_an_element_take_nothing(path: Path) -> None:
    """Unlike cycles, energy does not depend on how many elements an engine takes at once."""
    graph = flexc.compile(path, policy="FB16").graph
    stream = emit_stream(graph, TARGET)
    wide = replace(TARGET, vector_elements_per_cycle=1000, lightnorm_elements_per_cycle=1000)
    narrow, wider = schedule_of(graph, stream, TARGET), schedule_of(graph, stream, wide)
    assert narrow.cycles != wider.cycles
    assert narrow.energy_by_component_pj == wider.energy_by_component_pj


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_dequantizations_are_products_of_a_core(bits: int) -> None:
    block = f"!bfp.tensor<4x40x3x2, m{bits}, tile [1, 20, 1, 1]>"
    text = f"""func.func @main(%x: tensor<4x40x3x2xf32>) -> tensor<4x40x3x2xf32> {{
  %q = bfp.quantize %x {{rounding = "nearest", seed = 0 : i64, stream = 0 : i64}}
    : tensor<4x40x3x2xf32> -> {block}
  %y = bfp.dequantize %q : {block} -> tensor<4x40x3x2xf32>
  func.return %y : tensor<4x40x3x2xf32>
}}"""
    graph = Graph(parse_module(text))
    graph.main.attributes[INPUTS] = name_array(("x",))
    graph.main.attributes[OUTPUTS] = name_array(("y",))
    run_pipeline(graph, (ScheduleGroups(), Allocate()))
    stream = emit_stream(graph, TARGET)
    _, found = schedule_of(graph, stream, TARGET).groups
    energy, elements = found.energy_by_component_pj, 4 * 40 * 3 * 2
    assert simulate(stream, TARGET).groups[1].macs == elements
    composed = 1 + (TARGET.energy.composed_multiply_factor.value - 1) * (bits // 4 - 1) / 15
    assert energy.multipliers == pytest.approx(elements * 0.0031 * 4 * bits * composed)
    assert energy.adders > elements * (0.1 + 0.9)
    assert energy.lines >= elements * 96 * TARGET.energy.register_pj_per_bit.value
    assert energy.converters == energy.vector == energy.lightnorm == 0
    assert energy.dram == 8 * (found.read_bytes + found.written_bytes) * TARGET.dram_pj_per_bit
