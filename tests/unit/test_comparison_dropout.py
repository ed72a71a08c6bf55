"""Masks of dropouts in the comparison: as the stream draws them, and the same work on every machine."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import flexc
from flexc.analysis.comparison.group_cost import group_cost
from flexc.analysis.comparison.iso import Iso
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.analysis.comparison.run import machine_of
from flexc.analysis.comparison.workload import GroupWork, Workload
from flexc.options import BatchNorm, TrainingOptions
from flexc.target import load_target
from flexc.target.load_baseline import baseline_names
from models.graph_builder import GraphBuilder

FLEXBLOCK = load_target("flexblock")
MACHINE = FlexBlockMachine(FLEXBLOCK)


def with_dropout(batch: int, width: int) -> onnx.ModelProto:
    """A dropout between two matrix products."""
    b = GraphBuilder("dropout", 0)
    hidden = b.linear(b.input("input", (batch, 12)), (12, width), "first")
    dropped = b.node("Dropout", [hidden, b.scalar("ratio", 0.25)], "dropout")
    return b.model({b.linear(dropped, (width, 5), "second"): (batch, 5)})


def workload_of(path: Path, policy: str = "FB12", *, train: bool = True) -> Workload:
    return load_compared_model(path, train=train, batch=None).workload(policy, BatchNorm.LIGHTNORM)


def saved(folder: Path, batch: int, width: int) -> Path:
    path = folder / "model.onnx"
    onnx.save(with_dropout(batch, width), path)
    return path


# The mask is odd, a tile, and cut into several.
@pytest.mark.parametrize(("batch", "width"), [(3, 7), (16, 64), (128, 200)])
def test_each_group_is_that_of_the_stream(batch: int, width: int, tmp_path: Path) -> None:
    path = saved(tmp_path, batch, width)
    schedule = flexc.compile(path, policy="FB12", training=TrainingOptions()).schedule
    workload = workload_of(path)
    assert workload.macs == schedule.macs
    for group, work in zip(schedule.groups, workload.groups, strict=True):
        found = group_cost(work, MACHINE)
        assert found is not None
        moved = group.read_bytes + group.written_bytes
        assert (found.dram_bytes, found.instructions) == (moved, group.instructions), group.label
        assert work.macs == group.macs
    assert model_cost(workload, MACHINE).total.cycles == pytest.approx(schedule.cycles, rel=0.05)


def the_mask(workload: Workload) -> GroupWork:
    (found,) = [work for work in workload.groups if work.dequantized is not None]
    return found


def test_the_cores_take_one_element_after_the_other(tmp_path: Path) -> None:
    path = saved(tmp_path, 16, 64)
    (group,) = [
        one
        for one in flexc.compile(path, policy="FB12", training=TrainingOptions()).schedule.groups
        if one.ops == ("bfp.dequantize",)
    ]
    found = group_cost(the_mask(workload_of(path)), MACHINE)
    assert found is not None
    assert found.compute_cycles == group.engines["cores"].busy_cycles
    assert found.energy.multipliers > 0


@pytest.mark.parametrize("name", baseline_names())
def test_baselines_draw_the_same_bits_and_scale_them_on_their_vector_unit(name: str, tmp_path: Path) -> None:
    machine = machine_of(name, FLEXBLOCK, Iso.NONE)
    work = the_mask(workload_of(saved(tmp_path, 16, 64)))
    assert work.dequantized is not None
    # Mantissas of 4 bits in groups of 216, with an exponent each.
    assert machine.operand_bits(work.dequantized) == 1024 * 4 + 5 * 8
    found = group_cost(work, machine)
    assert found is not None
    (written,) = work.writes
    assert found.dram_bytes == 512 + 5 + 1024 * machine.tensor_bits(written) // 8
    assert found.compute_cycles == 1024 * FLEXBLOCK.vector_cycles.cycles_of("mul") // 64
    assert (found.energy.multipliers, found.energy.converters) == (0, 0)
    assert found.energy.vector > 0


@pytest.mark.parametrize("name", ["flexblock", *baseline_names()])
def test_every_machine_draws_with_its_converter(name: str, tmp_path: Path) -> None:
    machine = machine_of(name, FLEXBLOCK, Iso.NONE)
    workload = workload_of(saved(tmp_path, 16, 64))
    drawn = [work for work in workload.groups if any(one.read_back for one in work.quantized)]
    (cost,) = (group_cost(work, machine) for work in drawn)
    assert cost is not None
    assert cost.energy.converters == pytest.approx(1024 * FLEXBLOCK.energy.converter_element_pj.value)


def test_inference_draws_nothing(tmp_path: Path) -> None:
    assert all(work.dequantized is None for work in workload_of(saved(tmp_path, 3, 7), train=False).groups)
