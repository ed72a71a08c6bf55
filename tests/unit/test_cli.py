"""The command line as such: quick help, exit statuses, one message for a mistake, shared options."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import flexc
from flexc.cli import COMMANDS, LazyGroup, main
from flexc.cli.options import InputShape
from flexc.diagnostics import error


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for name, entry in COMMANDS.items():
        assert f"{name} {entry.summary}" in words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")


def test_help_loads_no_compiler() -> None:
    script = (
        "import sys; from flexc.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted({'xdsl', 'onnx', 'onnxruntime', 'numpy', 'rich', 'safetensors'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"flexc, version {flexc.__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["run"], ["compile", "a", "b"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_compile_error_is_one_message_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fails() -> None:
        raise error("FX999", "this is wrong", hint="do that")

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: fails)
    result = CliRunner().invoke(main, ["run"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error[FX999]: this is wrong\n  hint: do that\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def crashes() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: crashes)
    result = CliRunner().invoke(main, ["run"])
    assert isinstance(result.exception, RuntimeError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=1x3x224x224", ("x", (1, 3, 224, 224))),
        ("x=7", ("x", (7,))),
        ("a=b=1,2", ("a=b", (1, 2))),
        ("scope/x:0=2x3", ("scope/x:0", (2, 3))),
        ("scalar=", ("scalar", ())),
    ],
)
def test_shapes_of_inputs(text: str, value: tuple[str, tuple[int, ...]]) -> None:
    assert InputShape().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["x", "=1x3", "x=1xN", "x=-1x3", "x=0x3", "x=1x", "x=1 x 3"])
def test_shapes_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not of the form"):
        InputShape().convert(text, None, None)
