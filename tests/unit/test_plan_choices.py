"""Groups that are alike share the search for their tiles, and nothing else changes."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import onnx
import pytest

import flexc
from flexc.options import TrainingOptions
from flexc.passes.scheduling import vector_plan
from models.make_small_mobilenet import make_small_mobilenet


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each search for the tiles of a vector group."""
    found: list[None] = []
    search = vector_plan.largest_choice

    def counting(*arguments: Any, **options: Any) -> vector_plan.Choice:
        found.append(None)
        return search(*arguments, **options)

    monkeypatch.setattr(vector_plan, "largest_choice", counting)
    return found


def test_shared_searches_give_the_same_program(
    tmp_path: Path, searches: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make_small_mobilenet(), path)
    shared = flexc.compile(path, training=TrainingOptions(), batch=4).stream.records
    with_sharing = len(searches)
    searches.clear()

    def unlike_all(planner: object) -> Hashable:
        return object()

    monkeypatch.setattr(vector_plan._Planner, "likeness", unlike_all)
    apart = flexc.compile(path, training=TrainingOptions(), batch=4).stream.records
    assert with_sharing < len(searches)
    assert shared.tobytes() == apart.tobytes()
