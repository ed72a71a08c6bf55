"""The schedule of a training step: parts, what is kept, sources of quantizations, what inspect shows."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

import flexc
from flexc.backends.stream.isa import Opcode, Space
from flexc.cli import main
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.tensor_op import spec_of
from flexc.options import TrainingOptions
from flexc.passes.differentiation.training_passes import STEP_PARTS, step_parts
from flexc.schedule import Schedule
from tests.training_models import small_resnet, small_transformer

ADAM = TrainingOptions(optimizer="adam", weight_decay=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("step")
    onnx.save(small_resnet(), path / "m.onnx")
    flexc.compile(path / "m.onnx", output=path / "a", training=ADAM)
    return path


@pytest.fixture(scope="module")
def program(folder: Path) -> flexc.Program:
    return flexc.compile(folder / "m.onnx", training=ADAM)


@pytest.fixture(scope="module")
def schedule(program: flexc.Program) -> Schedule:
    return program.schedule


def test_each_op_has_the_part_that_it_serves(program: flexc.Program) -> None:
    found: dict[tuple[type, str], set[str]] = {}
    for op, part in step_parts(program.graph).items():
        found.setdefault((type(op), "weights" if op.attributes.get("source") is None else ""), set()).add(
            part
        )
    assert found[bfp.ConvOp, ""] == found[lightnorm.ForwardOp, ""] == {"forward"}
    # The stem's norm carries its gradient to a weight gradient alone.
    assert found[bfp.ConvLocalGradOp, ""] == found[lightnorm.BackwardOp, ""] == {"local_grad"}
    assert found[bfp.ConvWeightGradOp, ""] == {"weight_grad"}
    # Adam's corrections follow from the number of the step, its means from gradients and state.
    for kind in (nn.PowOp, nn.SqrtOp):
        assert found[kind, "weights"] == {"update"}


def test_quantizations_belong_to_the_contraction_that_reads_them(program: flexc.Program) -> None:
    parts = step_parts(program.graph)
    for op, part in parts.items():
        if isinstance(op, bfp.QuantizeOp):
            assert part in {parts[use.operation] for use in op.out.uses}


def test_a_bias_gradient_is_a_sum_of_the_weight_gradient(tmp_path: Path) -> None:
    onnx.save(small_transformer(), tmp_path / "m.onnx")
    program = flexc.compile(tmp_path / "m.onnx", training=TrainingOptions())
    parts = step_parts(program.graph)
    sums = {op: part for op, part in parts.items() if isinstance(op, nn.ReduceSumOp)}
    bias = [part for op, part in sums.items() if spec_of(op.out.type).shape == (4,)]
    assert bias == ["weight_grad"]
    gathers = [parts[op] for op in parts if isinstance(op, nn.GatherGradOp)]
    assert gathers == ["weight_grad"]
    transposed = [op for op in parts if isinstance(op, nn.TransposeOp) and parts[op] == "weight_grad"]
    assert transposed, "activations are transposed for weight gradients"


def test_without_a_loss_all_is_forward(folder: Path) -> None:
    program = flexc.compile(folder / "m.onnx")
    assert {group.step_part for group in program.schedule.groups} == {"forward"}
    assert program.schedule.dram.kept_for_backward == ()


def test_parts_of_groups_come_in_order(schedule: Schedule) -> None:
    parts = [group.step_part for group in schedule.groups]
    assert parts[: parts.count("forward")] == ["forward"] * parts.count("forward")
    assert set(parts) == set(STEP_PARTS)
    assert parts[-1] == "update"


def test_kept_is_what_the_forward_groups_write_and_later_ones_read(
    program: flexc.Program, schedule: Schedule
) -> None:
    loss_group = max(group.index for group in schedule.groups if group.step_part == "forward")
    outputs = {spec.name for spec in program.outputs}
    written = {
        one.tensor
        for group in schedule.groups[: loss_group + 1]
        for one in group.traffic
        if one.written_bytes
    }
    read_behind = {
        one.tensor for group in schedule.groups[loss_group + 1 :] for one in group.traffic if one.read_bytes
    }
    kept = {one.tensor for one in schedule.dram.kept_for_backward}
    assert kept == written & read_behind - outputs
    by_name = {one.tensor: one for one in schedule.dram.kept_for_backward}
    xhat = by_name["a_1_bn_out_xhat"]
    assert (xhat.format, xhat.size_bytes) == ("fp10", 6 * 12 * 12 * 4 * 10 // 8)
    assert str(xhat.node) == "'a.1.bn' (BatchNormalization, node 5)"
    # The weight gradient's operand is kept, and not the activation that it is made from.
    assert "relu_1_out_m8_1" in kept
    assert "relu_1_out" not in kept


def test_the_footprint_is_that_of_the_stream(program: flexc.Program, schedule: Schedule) -> None:
    records = program.stream.records
    slots = records[(records["opcode"] == Opcode.SLOT) & (records["space"] == Space.DRAM)]
    assert schedule.dram.peak_bytes == int((slots["address_bytes"] + slots["size_bytes"]).max())
    assert schedule.dram.fixed_bytes < schedule.dram.peak_bytes < schedule.dram.capacity_bytes
    assert schedule.dram.kept_bytes <= schedule.dram.peak_bytes - schedule.dram.fixed_bytes


def test_every_quantization_says_what_it_is_made_from(program: flexc.Program, schedule: Schedule) -> None:
    found = {one.result: (one, group) for group in schedule.groups for one in group.quantizations}
    count = sum(isinstance(op, bfp.QuantizeOp) for op in program.graph.main.body.block.ops)
    assert len(found) == count
    for one, group in found.values():
        read = {moved.tensor for moved in group.traffic if moved.read_bytes}
        assert one.stored == (one.source in read)
    weight, _ = found["a_1_conv_weight_m8"]
    assert (weight.source, weight.source_format, weight.stored) == ("a_1_conv_weight", "f32", True)
    fused, _ = found["relu_1_out_m8_1"]
    assert (fused.source, fused.source_format, fused.stored) == ("relu_1_out", "f32", False)


def test_the_schedule_comes_back_as_written(schedule: Schedule) -> None:
    assert Schedule.from_json(schedule.to_json()) == schedule


def inspect(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["inspect", str(folder / "a"), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_inspect_shows_the_passes_one_after_the_other(folder: Path, schedule: Schedule) -> None:
    text = inspect(folder)
    titles = ["forward", "local gradient", "weight gradient", "update"]
    sums = [re.search(rf"^ +{title} +\d+ groups +([0-9,]+)", text, re.MULTILINE) for title in titles]
    places, macs = zip(*((one.start(), int(one[1].replace(",", ""))) for one in sums if one), strict=True)
    assert len(places) == 4
    assert list(places) == sorted(places)
    assert sum(macs[:3]) == schedule.macs
    (footprint,) = (line for line in text.splitlines() if line.startswith("DRAM in use"))
    assert f"in {len(schedule.dram.kept_for_backward)} tensors" in footprint
    assert " local gradient " in inspect(folder, "--sort", "macs", "--top", "9").split("kind", 1)[1]
    found = csv.DictReader(io.StringIO(inspect(folder, "--format", "csv")))
    assert [row["pass"] for row in found] == [group.step_part for group in schedule.groups]


def test_inspect_lists_what_is_kept(folder: Path, schedule: Schedule) -> None:
    header, *lines, total = inspect(folder, "--kept").splitlines()
    assert header.split() == ["tensor", "format", "size", "made", "by"]
    assert [line.split()[0] for line in lines] == [one.tensor for one in schedule.dram.kept_for_backward]
    assert total.startswith("total")
    rows = list(csv.DictReader(io.StringIO(inspect(folder, "--kept", "--format", "csv"))))
    assert [(row["tensor"], int(row["bytes"])) for row in rows] == [
        (one.tensor, one.size_bytes) for one in schedule.dram.kept_for_backward
    ]
    assert Schedule.from_json(inspect(folder, "--kept", "--json")) == replace(schedule, groups=())


def test_what_is_kept_is_not_sorted_or_cut(folder: Path) -> None:
    for option in (("--top", "3"), ("--sort", "bytes"), ("--layer", "a.1.conv")):
        result = CliRunner().invoke(main, ["inspect", str(folder / "a"), "--kept", *option])
        assert result.exit_code == 2
        assert "--kept lists tensors of the whole step" in result.stderr


def test_inspect_tells_what_a_layer_quantizes(folder: Path) -> None:
    text = inspect(folder, "--layer", "a.1.conv")
    assert "quantizes   a_1_conv_weight (f32, from DRAM) to a_1_conv_weight_m8" in text
