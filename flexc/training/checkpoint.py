"""Checkpoints: the state of a run in a file of arrays, and ``checkpoint.json`` that names it with its hash.

The arrays are written first, under a name of their own; then the JSON is renamed into place. A crash in
between leaves the last checkpoint whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from flexc.artefact import sha256_of
from flexc.diagnostics import Place, error
from flexc.versioned_json import versioned_json

Array: TypeAlias = npt.NDArray[Any]
SCHEMA = "flexc.checkpoint"
SCHEMA_VERSION = 2
CHECKPOINT = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """``state``: the arrays behind ``step`` steps; ``progress``: plain values of whoever wrote it."""

    step: int
    state: dict[str, Array]
    progress: Mapping[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes into ``folder``; the checkpoint that was there goes when the new one is in place.

    Raises CompileError FX511 where the disk refuses.
    """
    name = f"step-{checkpoint.step:08d}.safetensors"
    try:
        new = folder / f"{name}.new"
        save_file(checkpoint.state, new)
        _synchronize(new)
        os.replace(new, folder / name)
        content = {
            "step": checkpoint.step,
            "file": name,
            "sha256": sha256_of(folder / name),
            "progress": checkpoint.progress,
        }
        replace_text(folder / CHECKPOINT, versioned_json(SCHEMA, SCHEMA_VERSION, content))
        for old in folder.glob("step-*.safetensors*"):
            if old.name != name:
                old.unlink()
    except OSError as cause:
        raise error(
            "FX511", f"cannot write the checkpoint: {cause.strerror or cause}", place=Place(str(folder))
        ) from cause


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in ``folder``, None if there is none; CompileError FX571 for one that is damaged."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if (found["schema"], found["schema_version"]) != (SCHEMA, SCHEMA_VERSION):
            raise ValueError(f"its schema is {found['schema']} version {found['schema_version']}")
        arrays = folder / found["file"]
        if sha256_of(arrays) != found["sha256"]:
            raise ValueError(f"{arrays.name} is not the file that was written")
        return Checkpoint(found["step"], dict(load_file(arrays)), found["progress"])
    except (OSError, KeyError, TypeError, ValueError) as cause:
        raise error(
            "FX571", f"the checkpoint is damaged: {cause}", place=Place(str(path)),
            hint="start the run again in another folder",
        ) from cause  # fmt: skip


def replace_text(path: Path, text: str) -> None:
    """Writes a file whole: beside ``path`` first, to the disk, then renamed."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    _synchronize(new)
    os.replace(new, path)


def _synchronize(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
