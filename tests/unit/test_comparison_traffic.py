"""What the comparison's closed form moves to and from DRAM, group by group, against the emitted stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import flexc
from flexc.analysis.comparison.group_cost import group_cost
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.models import load_compared_model
from flexc.options import BatchNorm, TrainingOptions
from flexc.target import load_target
from tests.training_models import small_mobilenet, small_resnet, small_transformer

MACHINE = FlexBlockMachine(load_target("flexblock"))
STORED_QUANTIZED = """
name = "stored"
description = "Results are stored quantized, and read back."
[default]
format = "FB12"
result = { format = "FB12" }
"""


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("make", [small_resnet, small_mobilenet, small_transformer])
def test_each_group_moves_the_bytes_of_its_stream(
    make: Callable[[], onnx.ModelProto], train: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    training = TrainingOptions() if train else None
    schedule = flexc.compile(path, policy="FB12", training=training).schedule
    workload = load_compared_model(path, train=train, batch=None).workload("FB12", BatchNorm.LIGHTNORM)
    differing = []
    for group, work in zip(schedule.groups, workload.groups, strict=True):
        cost = group_cost(work, MACHINE)
        moved = group.read_bytes + group.written_bytes
        if cost is None or cost.dram_bytes != moved:
            differing.append((group.index, group.label, moved, cost))
    assert differing == []


def test_results_that_are_stored_quantized_are_read_back_as_the_stream_does(tmp_path: Path) -> None:
    path, policy = tmp_path / "model.onnx", tmp_path / "stored.toml"
    onnx.save(small_mobilenet(), path)
    policy.write_text(STORED_QUANTIZED)
    schedule = flexc.compile(path, policy=str(policy), training=TrainingOptions()).schedule
    workload = load_compared_model(path, train=True, batch=None).workload(str(policy), BatchNorm.LIGHTNORM)
    assert sum(work.dequantized is not None for work in workload.groups) > 10
    for group, work in zip(schedule.groups, workload.groups, strict=True):
        cost = group_cost(work, MACHINE)
        assert cost is not None
        found = (cost.dram_bytes, cost.instructions, work.macs)
        wanted = (group.read_bytes + group.written_bytes, group.instructions, group.macs)
        assert found == wanted, group.label
