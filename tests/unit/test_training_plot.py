"""The picture of a run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from flexc.diagnostics import CompileError
from flexc.training.metrics import METRICS_FILE, EpochMetrics, EpochTime, write_tables
from flexc.training.plot import plot_run

EPOCHS = (
    EpochMetrics(1, 10, 0.1, 2.0, None, 0.5, 0.1, 0.2, None, 3, 0, 0, None, None),
    EpochMetrics(2, 20, 0.1, 1.0, None, 0.75, 0.1, 0.2, None, 0, 1, 2, None, None),
)


def test_a_picture_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_tables(tmp_path, EPOCHS, [EpochTime(10, 1.0)] * 2, [])
    for name in ("a.png", "b.png"):
        plot_run(tmp_path, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_a_run_without_an_epoch(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(CompileError, match="FX570"):
        plot_run(tmp_path, tmp_path / "a.png")
    (tmp_path / METRICS_FILE).write_text("")
    with pytest.raises(CompileError, match="FX570"):
        plot_run(tmp_path, tmp_path / "a.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompileError, match=r"FX555.*\n.*flexc\[plot\]"):
        plot_run(tmp_path, tmp_path / "a.png")
