"""The README's commands run, and what it shows is what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flexc.cli import main
from tests.conftest import Golden

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _block(name: str) -> str:
    """The fenced block that follows the comment ``<!-- name -->``."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block called {name}"
    return found[1]


def _printed(name: str, work: Path) -> list[str]:
    """Runs the commands of the block ``name`` in ``work``: what they print, command by command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    printed = []
    for line in _block(name).splitlines():
        if line.startswith("source "):
            continue
        done = subprocess.run(
            ["bash", "-c", line], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed.append(done.stdout)
    return printed


def _held(name: str, printed: str, golden: Golden) -> None:
    """The block ``name`` is what was ``printed``, or becomes it."""
    path = ROOT / "README.md"
    if golden.update:
        text = path.read_text(encoding="utf-8")
        shown = f"<!-- {name} -->\n```text\n"
        path.write_text(text.replace(shown + _block(name), shown + printed), encoding="utf-8")
        return
    assert _block(name) == printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the README's commands ran, and what the last of them printed."""
    work = tmp_path_factory.mktemp("readme")
    return work, _printed("commands", work)[-1]


def test_the_excerpt_is_what_inspect_prints(folder: tuple[Path, str], golden: Golden) -> None:
    _held("inspect", folder[1], golden)


def test_training_prints_what_is_shown(tmp_path: Path, golden: Golden) -> None:
    """All of it but the images a second, which differ from run to run."""
    printed = re.sub(r"  \d+/s$", "", _printed("training", tmp_path)[1], flags=re.MULTILINE)
    _held("trained", printed, golden)
    assert (tmp_path / "trained.onnx").is_file()


@pytest.mark.slow
def test_the_demo_prints_what_is_shown(tmp_path: Path, golden: Golden) -> None:
    result = CliRunner().invoke(main, ["demo", "-o", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    _held("demo", result.stdout.partition("\n\nCycles are those")[0] + "\n", golden)


def test_the_python_example_runs(folder: tuple[Path, str]) -> None:
    subprocess.run([sys.executable, "-c", _block("python")], cwd=folder[0], check=True)
    assert (folder[0] / "resnet18-fb24.flexc" / "stream.bin").is_file()


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make ([\w-]+)$", README, re.MULTILINE))
    assert named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
