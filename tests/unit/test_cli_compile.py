"""What `flexc compile` leaves and says beside its result: a reproducer of a crash, remarks, progress."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import flexc
from flexc.api import Debugging
from flexc.cli import main
from flexc.diagnostics import Diagnostic
from flexc.ir.program import Graph, parse_module
from flexc.passes.map_contractions import MapContractions
from flexc.passes.pipelines import inference_pipeline
from tests.onnx_models import build, make_node, random, save


def flexc_with(statement: str) -> list[str]:
    """The command in which map-contractions first runs ``statement``."""
    script = (
        "import time\n"
        "from flexc.cli import main\n"
        "from flexc.passes.map_contractions import MapContractions\n"
        "original = MapContractions.run\n"
        "def run(self, graph):\n"
        f"    {statement}\n"
        "    return original(self, graph)\n"
        "MapContractions.run = run\n"
        "main()\n"
    )
    return [sys.executable, "-c", script]


BROKEN_FLEXC = flexc_with("1 / 0")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution whose weights are f16."""
    weights = {"w": random(4, 3, 3, 3).astype(np.float16)}
    return save(build([make_node("Conv", ["x", "w"], ["y"])], {"x": random(1, 3, 8, 8)}, weights), tmp_path)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in map-contractions."""

    def crash(self: MapContractions, graph: Graph) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(MapContractions, "run", crash)


def compile_command(model: Path, folder: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["compile", str(model), "-o", str(folder / "a"), *map(str, options)])


def run(command: list[str], *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_crash_leaves_a_reproducer_that_crashes_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    failed = run(BROKEN_FLEXC, "compile", model, "-o", here / "a", cwd=here)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "Traceback (most recent call last)" in failed.stderr
    assert "ZeroDivisionError: division by zero" in failed.stderr
    assert [path.name for path in here.iterdir()] == ["reproducer.mlir"]

    note = re.search(r"pass '(.+)' failed; the IR before it is in (.+); to run it again: (.+)", failed.stderr)
    assert note is not None
    assert note.group(1, 2) == ("map-contractions", "reproducer.mlir")
    program, *arguments = shlex.split(note[3])
    assert program == "flexc"
    replayed = run(BROKEN_FLEXC, *arguments, cwd=here)
    assert replayed.returncode == 1
    assert "ZeroDivisionError" in replayed.stderr
    assert "pass 'map-contractions' failed" in replayed.stderr

    monkeypatch.chdir(here)
    mended = CliRunner().invoke(main, arguments)
    assert mended.exit_code == 0, mended.stderr
    assert "flexblock.mapping" in mended.stdout
    assert mended.stderr == ""


@pytest.mark.usefixtures("broken")
def test_a_reproducer_holds_ir_and_pipeline_but_no_weights(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    failure = compile_command(model, tmp_path, "--target", "flexblock-edge", "--reproducer", folder).exception
    assert isinstance(failure, ZeroDivisionError)
    assert f"flexc opt '{folder}/reproducer.mlir' --run-reproducer" in failure.__notes__[0]
    text = (folder / "reproducer.mlir").read_text()
    assert len(text) < 2000
    machine = "{target=flexblock-edge}"
    assert f"// pipeline: map-contractions{machine},schedule{machine},allocate{machine}\n" in text
    ops = {op.name for op in Graph(parse_module(text)).main.body.block.ops}
    assert ops == {"bfp.constant", "bfp.quantize", "bfp.conv", "func.return"}


@pytest.mark.usefixtures("broken")
def test_a_folder_that_cannot_be_written_does_not_hide_the_bug(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failure = compile_command(model, tmp_path, "--reproducer", tmp_path / "file" / "x").exception
    assert isinstance(failure, ZeroDivisionError)
    assert failure.__notes__[0].endswith("file/x/reproducer.mlir cannot be written: Not a directory")


@pytest.mark.usefixtures("broken")
def test_from_python_a_reproducer_is_written_where_it_is_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        flexc.compile(model)
    assert list(tmp_path.rglob("reproducer.mlir")) == []
    with pytest.raises(ZeroDivisionError):
        flexc.compile(model, debugging=Debugging(reproducer=tmp_path / "there"))
    assert list(tmp_path.rglob("reproducer.mlir")) == [tmp_path / "there" / "reproducer.mlir"]


def test_remarks_go_to_stderr_and_nothing_else_does(model: Path, tmp_path: Path) -> None:
    result = compile_command(model, tmp_path)
    assert result.exit_code == 0
    said = f"remark[FX100]: 1 weights of other floating types are taken as f32\n  --> {model}\n"
    assert result.stderr == said
    assert "remark[" not in result.stdout
    assert CliRunner().invoke(main, ["opt", str(model)]).stderr == said


def test_from_python_remarks_and_steps_go_to_functions(model: Path, tmp_path: Path) -> None:
    remarks: list[Diagnostic] = []
    steps: list[str] = []
    program = flexc.compile(model, output=tmp_path / "a", remark=remarks.append, progress=steps.append)
    assert [one.code for one in remarks] == ["FX100"]
    assert steps == ["import", *(one.name for one in inference_pipeline(program.options)), "emit"]


def test_a_terminal_shows_the_running_pass(model: Path, tmp_path: Path) -> None:
    """On a terminal, with a pass that takes longer than a spinner takes to turn."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [*flexc_with("time.sleep(0.5)"), "compile", str(model), "-o", str(tmp_path / "a")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"compiling model.onnx: map-contractions" in shown
    assert b"remark[FX100]: 1 weights" in shown
    assert b"compiling" not in printed


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # Linux's end of file on a terminal that the last process has left.
        return b""
