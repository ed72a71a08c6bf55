"""What a user reads when a model cannot be loaded: one golden text a broken model."""

from __future__ import annotations

import random as python_random
import re
from pathlib import Path

import pytest

from flexc.diagnostics import CompileError, Diagnostic
from flexc.importer import load_model
from tests.broken_models import BROKEN
from tests.conftest import Golden
from tests.onnx_models import build, make_node, random

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"


def failure(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> CompileError:
    """The error of a broken model, loaded from its own folder so that messages name no other."""
    inside = folder / "inside"
    inside.mkdir()
    BROKEN[name](inside)
    monkeypatch.chdir(inside)
    before = sorted(inside.iterdir())
    with pytest.raises(CompileError) as caught:
        load_model("model.onnx")
    assert sorted(inside.iterdir()) == before
    return caught.value


@pytest.mark.parametrize("name", BROKEN)
def test_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    found = failure(name, tmp_path, monkeypatch)
    golden.check(f"errors/import_{name}.txt", f"{found}\n")


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "many_problems"])
def test_one_cause_is_reported_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(failure(name, tmp_path, monkeypatch).diagnostics) == 1


def test_all_causes_are_reported_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = failure("many_problems", tmp_path, monkeypatch)
    assert sorted(each.code for each in found.diagnostics) == ["FX107", "FX109", "FX201", "FX203", "FX203"]


def test_the_documented_codes_are_those_of_the_sources() -> None:
    root = DOCUMENT.parents[1]
    used = {
        code
        for folder in ("flexc", "passes", "backends")
        for path in (root / folder).rglob("*.py")
        for code in re.findall(r'"(FX\d{3})"', path.read_text(encoding="utf-8"))
    }
    documented = re.findall(r"^\| (FX\d{3}) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(used)


def test_damaged_files_give_errors_and_no_crash(tmp_path: Path) -> None:
    """Bytes of a sound model, changed at random: a CompileError, or a model that is still sound."""
    node = make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2], name="conv")
    content = build([node], {"x": random(1, 3, 8, 8)}, {"w": random(4, 3, 3, 3)}).SerializeToString()
    path = tmp_path / "model.onnx"
    choose = python_random.Random(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(choose.choice([1, 2, 4])):
            position = choose.randrange(len(damaged))
            damaged[position : position + choose.choice([0, 1, 1, 3])] = choose.randbytes(
                choose.choice([0, 1, 1, 2])
            )
        path.write_bytes(damaged)
        try:
            load_model(path)
        except CompileError:
            refused += 1
    assert refused > 100


def test_remarks(tmp_path: Path) -> None:
    """Conversions that lose no meaning are told, not refused."""
    remarks: list[Diagnostic] = []
    model = build([make_node("Relu", ["x"], ["y"])], {"x": random(2).astype("float16")})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    load_model(tmp_path / "model.onnx", remark=remarks.append)
    assert [(each.severity, each.message) for each in remarks] == [("remark", "input 'x' is taken as f32")]
