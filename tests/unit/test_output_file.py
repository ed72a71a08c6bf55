"""A file is there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from flexc.diagnostics import CompileError
from flexc.output_file import write_file


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(new: Path) -> None:
        new.write_text("new")
        assert path.read_text() == "old"

    write_file(path, write)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(new: Path) -> None:
        new.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CompileError, match=r"FX506.*No space left on device"):
        write_file(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bug_in_the_writer_is_no_user_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "file", lambda new: 1 / 0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, file = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to(file)
    write_file(link, lambda new: new.write_text("new"))
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_file(pipe, lambda new: new.write_text("through"))
    reader.join(10)
    assert received == ["through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("place", [".", "missing/file"])
def test_places_that_hold_no_file(tmp_path: Path, place: str) -> None:
    with pytest.raises(CompileError, match="FX506"):
        write_file(tmp_path / place, lambda new: new.write_text("new"))
