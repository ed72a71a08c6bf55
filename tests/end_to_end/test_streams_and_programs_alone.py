"""executor.py and the simulator in processes of their own, that may import and read only what they should."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import flexc
from flexc.array_files import read_npz, write_npz
from flexc.program import EngineRun
from tests.end_to_end.model_inputs import inputs_of
from tests.end_to_end.model_zoo import REDUCED

Arrays = dict[str, npt.NDArray[Any]]

COMPILER = ("flexc.ir", "flexc.importer", "flexc.passes", "flexc.api", "flexc.program", "xdsl", "onnx")
DATA_SUFFIXES = {".onnx", ".mlir", ".safetensors", ".npz", ".bin", ".s", ".json", ".toml"}
GUARD = """
import atexit, os, sys

FORBIDDEN = {forbidden!r}
opened = []


class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(tuple(f"{{each}}." for each in FORBIDDEN)) or name in FORBIDDEN:
            raise RuntimeError(f"{{name}} is imported")


def watch(event, arguments):
    if event == "open" and arguments[1] in ("r", "rb") and isinstance(arguments[0], (str, os.PathLike)):
        opened.append(os.path.abspath(arguments[0]))


def write_opened():
    names = sorted(set(opened))
    with open({log!r}, "w") as log:
        log.write("\\n".join(names))


sys.meta_path.insert(0, Refusal())
sys.addaudithook(watch)
atexit.register(write_opened)
"""


class Guarded:
    """Python processes in ``folder`` that end at a forbidden import, and say what they read."""

    def __init__(self, folder: Path, forbidden: Sequence[str]) -> None:
        self.folder = folder
        self.log = folder / "guard" / "opened"
        (folder / "guard").mkdir()
        text = GUARD.format(forbidden=tuple(forbidden), log=str(self.log))
        (folder / "guard" / "sitecustomize.py").write_text(text, encoding="utf-8")
        path = [str(folder / "guard"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def data_files(self) -> set[str]:
        """What the last process read that is neither code nor a package's, relative to the folder."""
        paths = [Path(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return {
            os.path.relpath(path, self.folder.resolve())
            for path in paths
            if path.suffix in DATA_SUFFIXES and not path.is_relative_to(sys.prefix)
        }


@pytest.fixture(scope="module", params=["mobilenet_v2", "bert"])
def artefact(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Arrays, EngineRun]:
    """An artefact's folder, inputs, and what the executor makes of them; the model itself is gone."""
    folder = tmp_path_factory.mktemp(request.param)
    model = REDUCED[request.param]()
    onnx.save(model, folder / "model.onnx")
    program = flexc.compile(folder / "model.onnx", output=folder / "compiled", policy="FB16A-FB12W")
    (folder / "model.onnx").unlink()
    inputs = inputs_of(model)
    return folder / "compiled", inputs, program.run_engine(inputs, "executor", tensors=True)


def require_equal(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


def test_the_executor_needs_its_weights_and_the_kernels_only(
    artefact: tuple[Path, Arrays, EngineRun], tmp_path: Path
) -> None:
    compiled, inputs, expected = artefact
    for name in ("executor.py", "weights.safetensors"):
        shutil.copy(compiled / name, tmp_path)
    write_npz(tmp_path / "in.npz", inputs)
    process = Guarded(tmp_path, (*COMPILER, "flexc.backends"))
    finished = process.run("executor.py", "in.npz", "out.npz")
    assert finished.returncode == 0, finished.stderr
    require_equal(read_npz(tmp_path / "out.npz"), expected.outputs)
    assert process.data_files() == {"in.npz"}, "safetensors reads its file itself, unseen"


def test_the_simulator_needs_the_stream_and_the_inputs_only(
    artefact: tuple[Path, Arrays, EngineRun], tmp_path: Path
) -> None:
    compiled, inputs, expected = artefact
    shutil.copy(compiled / "stream.bin", tmp_path)
    write_npz(tmp_path / "in.npz", inputs)
    process = Guarded(tmp_path, (*COMPILER, "flexc.backends.executor", "flexc.backends.stream.emit"))
    finished = process.run(
        "-m", "flexc.backends.stream.simulate", "stream.bin", "in.npz", "out.npz", "--tensors", "tensors.npz"
    )
    assert finished.returncode == 0, finished.stderr
    require_equal(read_npz(tmp_path / "out.npz"), expected.outputs)
    tensors = read_npz(tmp_path / "tensors.npz")
    shared = tensors.keys() & expected.tensors.keys()
    assert len(shared) > 20
    require_equal({name: tensors[name] for name in shared}, {name: expected.tensors[name] for name in shared})
    assert process.data_files() == {"in.npz", "stream.bin"}


@pytest.mark.parametrize("module", ["flexc.ir.nn", "flexc.backends.executor.run"])
def test_the_guard_refuses(module: str, tmp_path: Path) -> None:
    process = Guarded(tmp_path, (*COMPILER, "flexc.backends.executor"))
    finished = process.run("-c", f"import {module}")
    assert finished.returncode == 1
    assert "is imported" in finished.stderr
