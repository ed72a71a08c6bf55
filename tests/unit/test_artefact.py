"""The artefact's folder: whole or not at all, and nothing but what was written is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flexc import artefact
from flexc.artefact import Manifest, Source, read_manifest, write_artefact
from flexc.diagnostics import CompileError
from flexc.options import BatchNorm, CompileOptions, Profile
from flexc.tensor_spec import TensorSpec

OPTIONS = CompileOptions(
    input_shapes={"x": (1, 3, 8, 8)}, policy="FB12", profile=Profile.FP32, batchnorm=BatchNorm.FP32, batch=2
)
FILES = artefact.FILES
Writer = Callable[[Path], object]


def manifest(files: dict[str, str]) -> Manifest:
    x, y = TensorSpec("x", "float32", (1, 3, 8, 8)), TensorSpec("y", "float32", ())
    return Manifest(Source("../model.onnx", "ab" * 32), OPTIONS, (x,), (y,), files)


def writers(content: str = "content") -> dict[str, Writer]:
    def writer(name: str) -> Writer:
        return lambda path: path.write_text(f"{content} of {name}")

    return {name: writer(name) for name in FILES}


def codes(failure: pytest.ExceptionInfo[CompileError]) -> list[str]:
    return [diagnostic.code for diagnostic in failure.value.diagnostics]


def test_a_manifest_comes_back_as_written(tmp_path: Path) -> None:
    write_artefact(tmp_path / "new" / "a", writers(), manifest)
    found = read_manifest(tmp_path / "new" / "a")
    assert found == manifest(dict(found.files))
    assert set(found.files) == set(FILES)


def test_an_artefact_without_its_stream_is_none(tmp_path: Path) -> None:
    chosen = {name: writer for name, writer in writers().items() if name != artefact.STREAM}
    write_artefact(tmp_path / "a", chosen, manifest)
    with pytest.raises(CompileError, match="FX513"):
        read_manifest(tmp_path / "a")


def test_equal_artefacts_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_artefact(tmp_path / name, writers(), manifest)
    for file in (*FILES, artefact.MANIFEST):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_artefact_is_replaced(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a", writers("first"), manifest)
    (tmp_path / "a" / "left.over").touch()
    write_artefact(tmp_path / "a", writers("second"), manifest)
    assert (tmp_path / "a" / artefact.GRAPH).read_text() == f"second of {artefact.GRAPH}"
    assert not (tmp_path / "a" / "left.over").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failure_leaves_the_old_artefact_and_nothing_else(tmp_path: Path) -> None:
    def crash(path: Path) -> None:
        path.touch()
        raise RuntimeError("a bug")

    write_artefact(tmp_path / "a", writers("first"), manifest)
    with pytest.raises(RuntimeError, match="a bug"):
        write_artefact(tmp_path / "a", {**writers("second"), artefact.WEIGHTS: crash}, manifest)
    read_manifest(tmp_path / "a")
    assert (tmp_path / "a" / artefact.GRAPH).read_text() == f"first of {artefact.GRAPH}"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["file", "other folder", "folder with another manifest"])
def test_what_is_no_artefact_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "manifest.json").write_text('["mine"]' if "manifest" in kind else "mine")
    with pytest.raises(CompileError) as failure:
        write_artefact(path, writers(), manifest)
    assert codes(failure) == ["FX510"]
    assert "mine" in (path if kind == "file" else path / "manifest.json").read_text()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_artefact(tmp_path / "a", writers(), manifest)
    read_manifest(tmp_path / "a")


def test_a_refusing_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "parent").write_text("a file")
    with pytest.raises(CompileError) as failure:
        write_artefact(tmp_path / "parent" / "a", writers(), manifest)
    assert codes(failure) == ["FX511"]


def test_every_damaged_file_is_named(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a", writers(), manifest)
    (tmp_path / "a" / artefact.WEIGHTS).unlink()
    with (tmp_path / "a" / artefact.EXECUTOR).open("a") as file:
        file.write(" ")
    with pytest.raises(CompileError) as failure:
        read_manifest(tmp_path / "a")
    assert codes(failure) == ["FX515", "FX515"]
    assert "missing" in str(failure.value)
    assert "changed" in str(failure.value)


def test_a_folder_without_manifest_is_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as failure:
        read_manifest(tmp_path)
    assert codes(failure) == ["FX512"]


def edited(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    write_artefact(folder, writers(), manifest)
    path = folder / artefact.MANIFEST
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("source"),
        lambda found: found["files"].pop(artefact.EXECUTOR),
        lambda found: found["files"].pop(artefact.SCHEDULE),
        lambda found: found["files"].update({"../../etc/passwd": ""}),
        lambda found: found["options"].update(profile="fp8"),
        lambda found: found["options"].update(surplus=1),
        lambda found: found.update(options=[]),
        lambda found: found.update(inputs=3),
    ],
)
def test_a_manifest_of_another_form_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    with pytest.raises(CompileError) as failure:
        read_manifest(edited(tmp_path / "a", change))
    assert codes(failure) == ["FX513"]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"'])
def test_a_manifest_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / artefact.MANIFEST).write_text(text)
    with pytest.raises(CompileError) as failure:
        read_manifest(tmp_path)
    assert codes(failure) == ["FX513"]


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="version 1") as failure:
        read_manifest(edited(tmp_path / "a", lambda found: found.update(schema_version=1)))
    assert codes(failure) == ["FX514"]


def test_options_come_back_from_json() -> None:
    for options in (OPTIONS, CompileOptions(), replace(OPTIONS, rounding="truncate", everywhere=True)):
        assert CompileOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
