"""Comparisons without weights are read back, where nothing that they depend on has changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from flexc.analysis.comparison import remembered
from flexc.analysis.comparison.remembered import comparison_entry, read_comparison, write_comparison
from flexc.analysis.comparison.result import Comparison
from flexc.cli import main
from flexc.disk_cache import VARIABLE
from models.make_small_resnet import make_small_resnet

EMPTY = Comparison("fp32", "none", True, (), (), (), (), ())


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    path = tmp_path / "small.onnx"
    onnx.save(make_small_resnet(), path)
    return path


def command(model: Path, *more: str) -> list[str]:
    return ["compare", str(model), "--targets", "flexblock", "--no-weights", "--batch", "2", *more]


def output_of(arguments: list[str]) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def entries(model: Path) -> list[Path]:
    return sorted((model.parent / "cache" / "comparisons").rglob("*.json"))


def test_the_second_time_says_the_same_without_the_compiler(model: Path) -> None:
    first = {form: output_of(command(model, "--format", form)) for form in ("table", "json")}
    assert len(entries(model)) == 1
    code = (
        "import sys; from flexc.cli import main; sys.argv[0] = 'flexc'; main(standalone_mode=False);"
        "assert not {'numpy', 'onnx', 'xdsl'} & {*sys.modules}"
    )
    for form, text in first.items():
        arguments = command(model, "--format", form)
        again = subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
        )
        assert again.stdout == text


def test_with_weights_nothing_is_kept(model: Path) -> None:
    output_of([one for one in command(model) if one != "--no-weights"])
    assert entries(model) == []


def test_a_damaged_entry_is_made_anew(model: Path) -> None:
    text = output_of(command(model))
    (entry,) = entries(model)
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-40])
    assert output_of(command(model)) == text
    assert entry.read_bytes() == whole


def keys(model: Path) -> Iterator[Path | None]:
    """Entries of comparisons that differ in one thing each."""
    policy, options = model.parent / "own.toml", {"train": True}
    policy.write_text("a")
    yield comparison_entry([model], [str(policy)], options)
    policy.write_text("b")
    yield comparison_entry([model], [str(policy)], options)
    yield comparison_entry([model], ["own.toml"], options)
    yield comparison_entry([model], [str(policy)], {"train": False})
    yield comparison_entry([model.rename(model.with_stem("other"))], [str(policy)], options)


def test_all_that_matters_is_in_the_key(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(keys(model))
    other = model.with_stem("other")
    other.write_bytes(other.read_bytes() + b"\0")
    found.append(comparison_entry([other], [], {}))
    monkeypatch.setattr(remembered, "_sources", lambda: "another version")
    found.append(comparison_entry([other], [], {}))
    assert None not in found
    assert len({*found}) == len(found)


def test_the_sources_are_all_of_flexc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {Path(path).name for path in remembered._source_files()}
    assert {"clock.py", "differentiate.py", "isa.py", "flexblock.toml", "FB12.toml"} <= names


def test_tensors_in_other_files_are_not_in_the_key(model: Path) -> None:
    proto = onnx.load(model)
    onnx.save(proto, model, save_as_external_data=True, location="weights", size_threshold=0)
    assert comparison_entry([model], [], {}) is None


def test_without_a_folder_nothing_is_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert comparison_entry([model], [], {}) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "entry.json"
    assert read_comparison(path) is None
    write_comparison(path, replace(EMPTY, iso="datapath"))
    assert read_comparison(path) == replace(EMPTY, iso="datapath")
