"""What a run says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flexc.cli.training_progress import describe_epoch, describe_step
from flexc.diagnostics import CompileError
from flexc.training.metrics import EpochMetrics, EpochSums, EpochTime, read_times, write_tables
from flexc.training.run import StepReport

ROW = EpochMetrics(2, 56, 0.1, 0.25, 0.9, 0.875, 0.01, 0.02, 0.3, 0, 29, 0, None, None)


def test_an_epoch() -> None:
    expected = (
        "epoch 2/5  loss 0.2500  accuracy 90.00%  test 87.50%  "
        "ZSE activation 1.00%  ZSE weight 2.00%  ZSE gradient 30.00%"
    )
    assert describe_epoch(ROW, 5, "own") == expected
    plain = replace(ROW, train_accuracy=None, error_activation=None, error_weight=None, error_gradient=None)
    costed = replace(plain, machine_cycles=1000, machine_energy_pj=2.5e9)
    expected = "epoch 2/5  loss 0.2500  test 87.50%  own (assumed) 1,000 cycles, 2.5 mJ"
    assert describe_epoch(costed, 5, "own") == expected


def test_a_step() -> None:
    report = StepReport(3, 10, 1, 0.5, 0.25, {"weight": 0.125}, 160.4)
    assert describe_step(report) == "epoch 1  loss 0.5000  accuracy 25.00%  ZSE weight 12.50%  160/s"


def test_means_are_over_what_was_measured() -> None:
    sums = EpochSums()
    sums.add_errors({"weight": [0.1, 0.3]})
    sums.add_errors({"weight": [0.8], "gradient": [0.5]})
    assert sums.errors == {"weight": [1.2000000000000002, 3], "gradient": [0.5, 1]}
    assert (sums.accuracy, sums.mean_loss) == (None, 0)


def test_times_come_back_as_far_as_they_were_written(tmp_path: Path) -> None:
    times = [EpochTime(100, 1.23456), EpochTime(40, 0.5)]
    write_tables(tmp_path, [ROW], times, [])
    assert read_times(tmp_path, 3) == [EpochTime(100, 1.235), EpochTime(40, 0.5), EpochTime()]
    written = (tmp_path / "times.csv").read_bytes()
    write_tables(tmp_path, [ROW], read_times(tmp_path, 2), [])
    assert (tmp_path / "times.csv").read_bytes() == written
    assert read_times(tmp_path / "none", 1) == [EpochTime()]
    (tmp_path / "times.csv").write_text("epoch,seconds\n1,2\n")
    with pytest.raises(CompileError, match="FX570"):
        read_times(tmp_path, 1)
