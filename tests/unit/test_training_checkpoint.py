"""Checkpoints are whole or damaged, never half; runs continue only as they began."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import flexc.training.checkpoint
from flexc.diagnostics import CompileError
from flexc.options import TrainingOptions
from flexc.training.checkpoint import CHECKPOINT, Checkpoint, read_checkpoint, write_checkpoint
from flexc.training.learning_rate import LearningRate, Schedule
from flexc.training.precision_control import ControlOptions
from flexc.training.settings import RunRecord, RunSettings

STATE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b/velocity": np.full(1, 1.5, np.float32)}
FIRST = Checkpoint(3, STATE, {"sums": {"loss": 0.1}})


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, FIRST)
    write_checkpoint(tmp_path, replace(FIRST, step=4))
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert (found.step, found.progress) == (4, {"sums": {"loss": 0.1}})
    for name, array in STATE.items():
        np.testing.assert_array_equal(found.state[name], array)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, "step-00000004.safetensors"]


def test_a_crash_before_the_end_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, FIRST)

    def crash(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flexc.training.checkpoint, "replace_text", crash)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(tmp_path, replace(FIRST, step=9))
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 3
    write_checkpoint(tmp_path, replace(FIRST, step=12))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["arrays", "missing", "json", "version"])
def test_damage(tmp_path: Path, damage: str) -> None:
    write_checkpoint(tmp_path, FIRST)
    arrays, path = tmp_path / "step-00000003.safetensors", tmp_path / CHECKPOINT
    if damage == "arrays":
        arrays.write_bytes(arrays.read_bytes()[:-1] + b"\1")
    elif damage == "missing":
        arrays.unlink()
    elif damage == "json":
        path.write_text(path.read_text()[:-20])
    else:
        path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 9'))
    with pytest.raises(CompileError, match="FX571"):
        read_checkpoint(tmp_path)


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    settings = RunSettings(
        model=str(tmp_path / "model.onnx"),
        data="digits",
        epochs=3,
        batch=5,
        learning_rate=LearningRate(0.1, Schedule.STEPS, 2, 0.5),
        training=TrainingOptions(optimizer="adam"),
        control=ControlOptions(low=0.25),
    )
    return RunRecord(settings, "ab" * 32, "cd" * 32, {"input": (1, 8, 8)})


def test_a_record_comes_back_wherever_the_run_lies(tmp_path: Path, record: RunRecord) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    record.write(folder)
    assert RunRecord.read(folder) == record
    assert str(tmp_path) not in (folder / "run.json").read_text()


def test_other_options_are_named(tmp_path: Path, record: RunRecord) -> None:
    record.require_same(record, tmp_path)
    other = replace(record, settings=replace(record.settings, batch=6), data_sha256="00" * 32)
    with pytest.raises(CompileError, match=r"FX572(.|\n)*batch was 5, not 6; the data are others"):
        other.require_same(record, tmp_path)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="FX570"):
        RunRecord.read(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CompileError, match="FX570"):
        RunRecord.read(tmp_path)
