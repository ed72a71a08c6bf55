"""`flexc disassemble` and `flexc assemble`: there and back, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import flexc
from flexc.cli import main
from tests.inspected_model import residual_model
from tests.onnx_models import save


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listing")
    flexc.compile(save(residual_model(), folder), output=folder / "a")
    return folder / "a"


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_there_and_back(artefact: Path, tmp_path: Path) -> None:
    listing, back = tmp_path / "own.s", tmp_path / "back.bin"
    away = command("disassemble", artefact / "stream.bin", "-o", listing)
    assert (away.exit_code, away.stdout) == (0, f"wrote {listing} and {tmp_path / 'own.data'}\n")
    assert (tmp_path / "own.data").read_bytes() == (artefact / "stream.data").read_bytes()
    named = (artefact / "stream.s").read_text()
    assert listing.read_text() == named.replace('"stream.data"', '"own.data"') != named
    again = command("assemble", listing, "-o", back)
    assert (again.exit_code, again.stdout) == (0, f"wrote {back}\n")
    assert back.read_bytes() == (artefact / "stream.bin").read_bytes()


def test_the_listing_of_an_artefact_assembles(artefact: Path, tmp_path: Path) -> None:
    assert command("assemble", artefact / "stream.s", "-o", tmp_path / "b").exit_code == 0
    assert (tmp_path / "b").read_bytes() == (artefact / "stream.bin").read_bytes()


def test_what_is_no_stream_or_listing_is_refused(artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "text.s").write_text("add r1, r2\n")
    (tmp_path / "alone.s").write_bytes((artefact / "stream.s").read_bytes())
    (tmp_path / "short.bin").write_bytes((artefact / "stream.bin").read_bytes()[:-1])
    cases: tuple[tuple[str, str, Path], ...] = (
        ("FX534", "assemble", tmp_path / "missing.s"),
        ("FX534", "assemble", artefact / "stream.bin"),
        ("FX534", "assemble", tmp_path / "text.s"),
        ("FX535", "assemble", tmp_path / "alone.s"),
        ("FX530", "disassemble", tmp_path / "missing.bin"),
        ("FX531", "disassemble", artefact / "stream.s"),
        ("FX533", "disassemble", tmp_path / "short.bin"),
    )
    for code, name, file in cases:
        result = command(name, file, "-o", out)
        assert result.exit_code == 1, file
        assert result.stderr.startswith(f"error[{code}]"), result.stderr
        assert not out.exists()
    assert "FX506" in command("assemble", artefact / "stream.s", "-o", tmp_path / "no" / "folder").stderr


def test_an_output_has_to_be_named(artefact: Path) -> None:
    assert command("disassemble", artefact / "stream.bin").exit_code == 2
    assert command("assemble", artefact / "stream.s").exit_code == 2
