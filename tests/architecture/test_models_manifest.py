"""Model files are the ones the manifest describes, with their licences."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

MODELS = Path(__file__).parents[2] / "models"


def test_manifest_matches_the_files() -> None:
    files = tomllib.loads((MODELS / "MANIFEST.toml").read_text())["file"]
    assert {entry["path"] for entry in files} == {path.name for path in MODELS.glob("*.onnx")}
    for entry in files:
        content = (MODELS / entry["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
        assert entry["origin"]
        for licence in entry["licence_files"]:
            assert (MODELS / licence).stat().st_size > 1000
