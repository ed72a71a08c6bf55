"""Comparing machines: the workload against the schedule, the costs by hand, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from flexc.analysis.comparison.group_cost import group_cost, norm_reads
from flexc.analysis.comparison.grouping import OpGrouping
from flexc.analysis.comparison.iso import Iso, beside
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.result import Comparison, Range, geometric_mean
from flexc.analysis.comparison.run import ComparisonOptions, compare
from flexc.analysis.comparison.workload import BlockOperand, GroupWork, Norm, Tensor, Walk
from flexc.cli import main
from flexc.cost.area import baseline_area, flexblock_area
from flexc.diagnostics import CompileError
from flexc.importer import load_model
from flexc.ir.placement import group_of
from flexc.mapping.gradients import OperandGroups, weight_grad_problem
from flexc.options import BatchNorm, CompileOptions, TrainingOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.map_contractions import MapContractions
from flexc.passes.pipelines import differentiation_of, training_pipeline
from flexc.passes.schedule import Schedule
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names, load_baseline
from tests.json_schema import violations
from tests.mapping_problems import conv_problem
from tests.training_models import small_mobilenet, small_resnet, small_transformer

FLEXBLOCK = load_target("flexblock")
MACHINE = FlexBlockMachine(FLEXBLOCK)
BF16 = beside(load_baseline("bf16-systolic"), FLEXBLOCK, Iso.DATAPATH)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "resnet.onnx"
    onnx.save(small_resnet(), path)
    return path


@pytest.mark.parametrize("make", [small_resnet, small_mobilenet, small_transformer])
def test_groups_are_those_of_the_schedule(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    """Where everything fits the buffers, the same ops run together."""
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    options = CompileOptions(training=TrainingOptions())
    graph = load_model(path, training=True)
    run_pipeline(graph, training_pipeline(options, differentiation_of(TrainingOptions())))
    found = OpGrouping.of(graph.main.body.block.ops)
    run_pipeline(graph, (MapContractions("flexblock"), Schedule("flexblock")))
    wanted: dict[int, list[str]] = {}
    for op in graph.main.body.block.ops:
        group = group_of(op)
        if group is not None:
            wanted.setdefault(group.index, []).append(op.name)
    names = [[op.name for op in group.ops] for group in found.groups]
    assert names == list(wanted.values())


@pytest.mark.parametrize("batchnorm", list(BatchNorm))
def test_a_workload_counts_what_the_model_has(resnet: Path, batchnorm: BatchNorm) -> None:
    workload = load_compared_model(resnet, train=True, batch=None).workload("FB16", batchnorm)
    norms = [group.norm for group in workload.groups if group.norm is not None]
    assert len(norms) == 2 * 6
    assert {norm.kind for norm in norms} == {str(batchnorm)}
    forward = [group for group in workload.groups if group.phase is Phase.FORWARD]
    assert len(forward) == 6 + 1
    assert workload.macs == sum(group.macs for group in workload.groups)
    weight = [group for group in workload.groups if group.phase is Phase.WEIGHT_GRAD]
    assert len(weight) == len(forward)


def test_shapes_suffice(resnet: Path, tmp_path: Path) -> None:
    """Without weights, in the file or beside it, the same groups."""
    model = onnx.load(resnet)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and list(tensor.dims) not in ([], [1]):
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "nowhere"
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(model.SerializeToString())
    wanted = load_compared_model(resnet, train=True, batch=None).workload("FB12", BatchNorm.FP32)
    found = load_compared_model(bare, train=True, batch=None, weights=False).workload("FB12", BatchNorm.FP32)
    assert found == wanted
    with pytest.raises(CompileError, match="FX104"):
        load_compared_model(bare, train=True, batch=None)


def test_inference_quantizes_weights_at_compile_time(resnet: Path) -> None:
    workload = load_compared_model(resnet, train=False, batch=None).workload("FB16", BatchNorm.LIGHTNORM)
    assert not any(one.of_parameter for group in workload.groups[1:] for one in group.quantized)
    assert sum(group.lightnorm_elements > 0 for group in workload.groups) == 6


def test_fp32_contractions_have_no_estimate(resnet: Path) -> None:
    model = load_compared_model(resnet, train=True, batch=None)
    with pytest.raises(CompileError, match="FX590"):
        model.workload("fp32", BatchNorm.FP32)


def conversion(elements: int, *, of_parameter: bool) -> GroupWork:
    """A group that reads a tensor and quantizes it to 4 bits in groups of 100."""
    made = BlockOperand(elements, elements // 100, 4, "forward", of_parameter)
    return GroupWork(
        Phase.CONVERSION,
        "",
        reads=(Tensor(elements, "f32" if of_parameter else "result"),),
        quantized=(made,),
        walk=Walk((elements // 100, 100), (1, 100)),
    )


def test_a_conversion_reads_and_writes() -> None:
    found = group_cost(conversion(1_000_000, of_parameter=False), MACHINE)
    assert found is not None
    assert found.dram_bytes == 4_000_000 + 500_000 + 10_000
    assert found.cycles >= 4_000_000 / 128
    assert found.energy.dram == pytest.approx(found.dram_bytes * 8 * 4.0)
    assert found.energy.converters == pytest.approx(1_000_000 * 0.23)
    assert found.energy.multipliers == 0


def test_bf16_converts_weights_alone() -> None:
    assert group_cost(conversion(1000, of_parameter=False), BF16) is None
    weights = group_cost(conversion(1000, of_parameter=True), BF16)
    assert weights is not None
    assert weights.dram_bytes == 4000 + 2000


def test_results_have_the_width_of_the_machine() -> None:
    work = GroupWork(
        Phase.OTHER,
        "",
        reads=(Tensor(800, "result"), Tensor(800, "fp10")),
        writes=(Tensor(800, "result"),),
        walk=Walk((8, 100), (1, 4), (Tensor(800, "result"),)),
    )
    found = [group_cost(work, machine) for machine in (MACHINE, BF16)]
    assert [one.dram_bytes for one in found if one] == [3200 + 1000 + 3200, 1600 + 1000 + 1600]


def test_norms_read_their_tensor_once_where_it_stays_on_chip() -> None:
    small, large = Norm("fp32", "forward", 900, 128), Norm("fp32", "forward", 1100, 128)
    assert [norm_reads(one, MACHINE) for one in (small, large)] == [1, 3]
    assert norm_reads(replace(large, kind="lightnorm"), MACHINE) == 2
    assert norm_reads(replace(large, direction="backward"), MACHINE) == 2


@pytest.mark.parametrize("name", baseline_names())
@pytest.mark.parametrize("iso", [Iso.DATAPATH, Iso.MULTIPLIERS])
def test_arrays_fill_the_area_and_no_more(name: str, iso: Iso) -> None:
    machine = beside(load_baseline(name), FLEXBLOCK, iso)
    ours, theirs = flexblock_area(FLEXBLOCK), baseline_area(machine.baseline, FLEXBLOCK.area)
    share = theirs.total / ours.total if iso is Iso.DATAPATH else theirs.multipliers / ours.multipliers
    assert 0.95 < share <= 1
    assert beside(load_baseline(name), FLEXBLOCK, Iso.NONE).baseline == load_baseline(name)


def test_the_vector_unit_takes_what_a_grid_is_bad_at() -> None:
    dense = conv_problem((8, 64, 28, 28), 64, (3, 3), pad=1)
    depthwise = conv_problem((8, 512, 14, 14), 512, (3, 3), pad=1, groups=512)
    gradient = weight_grad_problem(depthwise, OperandGroups(8, 8), OperandGroups(8, 8))
    on_array, elsewhere = (BF16.contraction(one) for one in (dense, gradient))
    assert on_array.energy.multipliers > 0 == on_array.energy.vector
    assert elsewhere.energy.multipliers == 0 < elsewhere.energy.vector
    assert elsewhere.compute_cycles == -(-gradient.macs * 2 // 64)


def test_ranges_hold_the_nominal_value() -> None:
    found = Range.of(2.0, {"less": 1.5, "more": 2.5})
    assert (found.low, found.nominal, found.high) == (1.5, 2.0, 2.5)
    assert (found.low_at, found.high_at) == ("less", "more")
    assert Range.of(2.0, {}).low == 2.0
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_the_same_norm_on_both_sides(resnet: Path) -> None:
    model = load_compared_model(resnet, train=True, batch=None)
    options = ComparisonOptions(("flexblock", "bf16-systolic"), ("FB12",), ranges=False)
    found = compare([lambda: model], options)
    (row,) = found.ratios
    ours, lightnorm, theirs = found.machines
    assert [one.batchnorm for one in found.machines] == ["fp32", "lightnorm", "fp32"]
    assert row.speedup.nominal == pytest.approx(theirs.cycles / ours.cycles)
    assert row.energy_ratio.nominal == pytest.approx(theirs.energy_pj / ours.energy_pj)
    assert row.lightnorm_gain == pytest.approx(ours.cycles / lightnorm.cycles)
    assert "training_results.md" in ours.accuracy
    assert theirs.accuracy == ""
    assert "claim" in found.claim
    assert Comparison.from_json(found.to_json()) == found
    for machine in found.machines:
        assert machine.cycles == sum(phase.cycles for phase in machine.phases)
        assert machine.energy_pj == pytest.approx(sum(machine.energy_by_component_pj.values()))


def test_more_dram_bandwidth_is_no_slower(resnet: Path) -> None:
    workload = load_compared_model(resnet, train=True, batch=None).workload("FB12", BatchNorm.FP32)
    faster = replace(FLEXBLOCK, dram_bytes_per_second=1e12)
    costs = [model_cost(workload, FlexBlockMachine(each)).total for each in (FLEXBLOCK, faster)]
    assert costs[1].cycles < costs[0].cycles


def test_a_baseline_is_not_compared_with_others(resnet: Path) -> None:
    options = ComparisonOptions(("bf16-systolic", "flexblock"))
    with pytest.raises(CompileError, match="FX591"):
        compare([lambda: load_compared_model(resnet, train=False, batch=None)], options)


def test_the_command(resnet: Path) -> None:
    arguments = ["compare", str(resnet), "--targets", "flexblock,hbfp8-systolic", "--no-ranges", "--train"]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert violations(json.loads(result.stdout), "comparison.json") == []
    text = CliRunner().invoke(main, arguments).stdout
    assert "assumed" in text
    assert "1.5 to 5.3 times" in text
    assert "claim" in text
    assert "| hbfp8-systolic |" in CliRunner().invoke(main, [*arguments, "--format", "markdown"]).stdout
