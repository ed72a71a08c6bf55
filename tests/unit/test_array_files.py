"""npz files: any name, a whole file or none, one clear error."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from flexc.array_files import read_npz, write_npy, write_npz
from flexc.diagnostics import CompileError


@pytest.mark.parametrize("name", ["x", "file", "allow_pickle", "/layer1/conv/Conv_output_0", "é 漢", "a.npy"])
def test_arrays_come_back_under_any_name(tmp_path: Path, name: str) -> None:
    written = {name: np.arange(4, dtype=np.float32)[::2], "scalar": np.array(3)}
    write_npz(tmp_path / "a.npz", written)
    found = read_npz(tmp_path / "a.npz")
    assert {key: (value.dtype, value.tolist()) for key, value in found.items()} == {
        key: (value.dtype, value.tolist()) for key, value in written.items()
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no arrays")
    (tmp_path / "empty").touch()
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "pickle").write_bytes(pickle.dumps([1]))
    np.savez(tmp_path / "objects.npz", x=np.array([None]))
    for name in ("missing", "text", "empty", "one.npy", "pickle", "objects.npz"):
        with pytest.raises(CompileError, match=name) as failure:
            read_npz(tmp_path / name)
        assert failure.value.diagnostics[0].code == "FX505"


def test_a_refusing_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CompileError, match="FX506"):
        write_npz(tmp_path / "missing" / "a.npz", {})
    with pytest.raises(CompileError, match="FX506"):
        write_npy(tmp_path / "file", {"x": np.zeros(1)})


def test_a_file_for_each_array(tmp_path: Path) -> None:
    write_npy(tmp_path / "d", {"x": np.zeros(2), "q.mantissa": np.ones(1, np.int8)})
    assert sorted(entry.name for entry in (tmp_path / "d").iterdir()) == ["q.mantissa.npy", "x.npy"]
