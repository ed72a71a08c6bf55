"""The event file of a run, read back record by record."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from flexc.diagnostics import Diagnostic
from flexc.training.metrics import EpochMetrics, EpochTime, write_tables
from flexc.training.precision_control import Decision
from flexc.training.run import StepReport
from flexc.training.scalars import EVENT_FILES, TAGS, writing_scalars


class Silent:
    """An observer that counts what it is told of."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def step(self, report: StepReport) -> None:
        self.told.append(report)

    def epoch(self, metrics: EpochMetrics) -> None:
        self.told.append(metrics)

    def decision(self, decision: Decision) -> None:
        self.told.append(decision)


def row(epoch: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        step=10 * epoch,
        learning_rate=0.5,
        train_loss=1 / epoch,
        train_accuracy=0.25 * epoch,
        test_accuracy=0.125 * epoch,
        error_activation=0.0,
        error_weight=None,
        error_gradient=0.75,
        bits_16=3,
        bits_8=2,
        bits_4=epoch,
        machine_cycles=1000 * epoch,
        machine_energy_pj=None,
    )


def masked(data: bytes) -> int:
    checksum = int(crc32c(data))
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(path: Path) -> Iterator[Event]:
    """The records of a file: length, its checksum, the event, its checksum."""
    data = path.read_bytes()
    while data:
        header, (length,) = data[:8], struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12]) == (masked(header),)
        assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked(body),)
        yield Event.FromString(body)
        data = data[16 + length :]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    (path,) = folder.glob(EVENT_FILES)
    found: dict[tuple[str, int], float] = {}
    for event in events(path):
        for value in event.summary.value:
            assert (value.tag, event.step) not in found
            found[value.tag, event.step] = value.simple_value
    return found


def run(folder: Path, epochs: range) -> Silent:
    """Epochs of a run that had those before."""
    told = Silent()
    remarks: list[Diagnostic] = []
    with writing_scalars(folder, told, remarks.append) as observer:
        for epoch in epochs:
            rows = [row(number) for number in range(1, epoch + 1)]
            write_tables(folder, rows, [EpochTime(100, 2.0)] * epoch, [])
            observer.epoch(rows[-1])
    assert remarks == []
    return told


EXPECTED = {
    ("loss/train", 10): 1.0,
    ("loss/train", 20): 0.5,
    ("accuracy/train", 10): 0.25,
    ("accuracy/test", 20): 0.25,
    ("zero_setting_error/activation", 10): 0.0,
    ("zero_setting_error/gradient", 20): 0.75,
    ("contractions/FB24", 10): 3.0,
    ("contractions/FB12", 20): 2.0,
    ("machine/cycles", 20): 2000.0,
    ("examples_per_second", 10): 50.0,
}


def test_epochs_are_scalars(tmp_path: Path) -> None:
    told = run(tmp_path, range(1, 3))
    assert told.told == [row(1), row(2)]
    found = scalars(tmp_path)
    assert found.items() >= EXPECTED.items()
    silent = {"loss/test", "zero_setting_error/weight", "machine/energy_pj"}
    assert {tag for tag, _ in found} == set(TAGS.values()) - silent
    assert {step for _, step in found} == {10, 20}


def test_a_continued_run_has_all_its_epochs_once(tmp_path: Path) -> None:
    run(tmp_path, range(1, 3))
    before = scalars(tmp_path)
    run(tmp_path, range(3, 4))
    after = scalars(tmp_path)
    assert after.items() >= before.items()
    assert {step for _, step in after} == {10, 20, 30}


def test_a_run_without_an_epoch_leaves_no_file(tmp_path: Path) -> None:
    run(tmp_path, range(0))
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_there_is_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told, remarks = Silent(), []  # type: tuple[Silent, list[Diagnostic]]
    with writing_scalars(tmp_path, told, remarks.append) as observer:
        assert observer is told
    (remark,) = remarks
    assert remark.render() == (
        "remark[FX564]: no scalars for TensorBoard: tensorboardX is missing\n"
        "  hint: pip install 'flexc[tensorboard]'"
    )


def test_every_number_of_an_epoch_has_a_tag() -> None:
    columns = {field.name for field in fields(EpochMetrics)} - {"epoch", "step"}
    assert columns <= set(TAGS)
