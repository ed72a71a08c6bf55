"""The cache of mappings: equal to a search, keyed by all that a search depends on, safe against damage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flexc import disk_cache
from flexc.diagnostics import CompileError
from flexc.ir.mapping import Mapping
from flexc.mapping import cache
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.target import Target, load_target
from tests.mapping_problems import LAYERS

FLEXBLOCK = load_target("flexblock")
PROBLEM = LAYERS["ragged_k"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache."""
    monkeypatch.setenv(disk_cache.VARIABLE, str(tmp_path))
    cache.find_mapping.cache_clear()
    yield tmp_path
    cache.find_mapping.cache_clear()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[ContractionProblem]:
    """The problems that were searched."""
    found: list[ContractionProblem] = []

    def watched(problem: ContractionProblem, target: Target) -> Mapping:
        found.append(problem)
        return search(problem, target)

    monkeypatch.setattr(cache, "search", watched)
    return found


def in_a_new_process(problem: ContractionProblem = PROBLEM, target: Target = FLEXBLOCK) -> Mapping:
    cache.find_mapping.cache_clear()
    return cache.find_mapping(problem, target)


def entry_of(folder: Path) -> Path:
    (path,) = folder.rglob("*.json")
    return path


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_found_is_what_a_search_gives(name: str, searches: list[ContractionProblem]) -> None:
    expected = search(LAYERS[name], FLEXBLOCK)
    assert [in_a_new_process(LAYERS[name]) for _ in range(2)] == [expected, expected]
    assert len(searches) == 1


def test_in_one_process_the_disk_is_asked_once(folder: Path) -> None:
    first = cache.find_mapping(PROBLEM, FLEXBLOCK)
    entry_of(folder).unlink()
    assert cache.find_mapping(PROBLEM, load_target("flexblock")) is first


@pytest.mark.parametrize(
    "other",
    [
        (replace(PROBLEM, pass_="local_grad"), FLEXBLOCK),
        (replace(PROBLEM, a_bits=4), FLEXBLOCK),
        (replace(PROBLEM, output_group=4), FLEXBLOCK),
        (PROBLEM, replace(FLEXBLOCK, dram_latency_cycles=51)),
    ],
)
def test_another_problem_or_machine_has_an_entry_of_its_own(
    other: tuple[ContractionProblem, Target], searches: list[ContractionProblem], folder: Path
) -> None:
    in_a_new_process()
    in_a_new_process(*other)
    assert len(searches) == len(list(folder.rglob("*.json"))) == 2


def test_the_name_of_a_machine_does_not_matter(searches: list[ContractionProblem]) -> None:
    in_a_new_process()
    in_a_new_process(target=replace(FLEXBLOCK, name="another"))
    assert len(searches) == 1


def test_another_search_does_not_read_the_entries(
    searches: list[ContractionProblem], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_new_process()
    monkeypatch.setattr(cache, "_sources", lambda: "others")
    in_a_new_process()
    assert len(searches) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "{}", "half", "tile", "illegal"])
def test_a_damaged_entry_is_searched_and_written_anew(
    damage: str, searches: list[ContractionProblem], folder: Path
) -> None:
    expected = in_a_new_process()
    path = entry_of(folder)
    whole = path.read_bytes()
    entry = json.loads(whole)
    if damage == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "tile":
        entry["content"]["tile"][0] += 1
        path.write_text(json.dumps(entry))
    elif damage == "illegal":
        entry["content"]["tile"][5] += 1
        entry["sha256"] = disk_cache.digest_of(entry["content"])
        path.write_text(json.dumps(entry))
    else:
        path.write_text(damage)
    assert in_a_new_process() == expected
    assert path.read_bytes() == whole
    assert len(searches) == 2


def test_nothing_half_written_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, place: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("os.replace", refuse)
    assert in_a_new_process() == search(PROBLEM, FLEXBLOCK)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_without_a_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(disk_cache.VARIABLE, "")
    assert in_a_new_process() == search(PROBLEM, FLEXBLOCK)
    (folder / "file").write_text("")
    monkeypatch.setenv(disk_cache.VARIABLE, str(folder / "file"))
    assert in_a_new_process() == search(PROBLEM, FLEXBLOCK)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert disk_cache.cache_folder() == folder
    monkeypatch.delenv(disk_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
    assert disk_cache.cache_folder() == folder / "xdg" / "flexc"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(folder))
    assert disk_cache.cache_folder() == folder / ".cache" / "flexc"


def test_what_does_not_map_is_an_error_each_time(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(CompileError, match="FX411"):
            in_a_new_process(replace(PROBLEM, a_bits=12))
    assert list(folder.rglob("*.json")) == []
