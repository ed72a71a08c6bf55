"""The artefact: a folder with everything a compiled model needs, written whole or not at all.

``manifest.json`` says what the folder was made from and holds the sha256 of every other file; see
docs/artefact.md for the files and docs/schemas/manifest.json for the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import flexc
from flexc.backends.stream.listing import DATA_FILE
from flexc.diagnostics import CompileError, Diagnostic, Place, error
from flexc.options import CompileOptions, Profile
from flexc.tensor_spec import IntegerValues, TensorSpec
from flexc.versioned_json import versioned_json

SCHEMA = "flexc.artefact"
SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
GRAPH = "graph.mlir"
WEIGHTS = "weights.safetensors"
EXECUTOR = "executor.py"
STREAM = "stream.bin"
STREAM_TEXT = "stream.s"
STREAM_DATA = DATA_FILE
SCHEDULE = "schedule.json"
TARGET = "target.toml"
EXECUTOR_FILES = (GRAPH, WEIGHTS, EXECUTOR)
FILES = (*EXECUTOR_FILES, STREAM, STREAM_TEXT, STREAM_DATA, SCHEDULE, TARGET)
"""What an artefact holds beside its manifest."""


@dataclass(frozen=True)
class Source:
    """The ONNX file an artefact was compiled from; the path is relative to the artefact's folder."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds; ``options`` are those of :func:`flexc.compile`, ``files`` hold sha256."""

    source: Source
    options: CompileOptions
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: Mapping[str, str]
    flexc_version: str = flexc.__version__

    def to_json(self) -> str:
        """The file's text, the same for equal manifests."""
        content = asdict(self)
        for spec in (*content["inputs"], *content["outputs"]):
            if not spec["values"]:
                del spec["values"]
        return versioned_json(SCHEMA, SCHEMA_VERSION, content)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Refuses a path that holds anything but an artefact or nothing (CompileError FX510)."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise error("FX510", "the artefact's path is a file", place=Place(str(folder)), hint="name a folder")
    if any(folder.iterdir()) and not _is_artefact(folder):
        raise error(
            "FX510",
            "the folder is not empty and holds no artefact",
            place=Place(str(folder)),
            hint="name a new folder, or remove this one",
        )


def write_artefact(
    folder: Path,
    writers: Mapping[str, Callable[[Path], object]],
    manifest: Callable[[dict[str, str]], Manifest],
) -> None:
    """Writes every file and the manifest beside ``folder``, then puts them in its place by renaming.

    ``writers`` writes each file to the path it is given; ``manifest`` is handed their sha256.
    An artefact that was there is replaced; anything else is refused (FX510). FX511: the disk refused.
    """
    check_writable(folder)
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            for file, write in writers.items():
                write(new / file)
                # Some writers make private files; an artefact's are as public as the folder.
                (new / file).chmod(new.stat().st_mode & 0o666)
            hashes = {file: sha256_of(new / file) for file in writers}
            (new / MANIFEST).write_text(manifest(hashes).to_json(), encoding="utf-8")
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as cause:
        raise error(
            "FX511", f"cannot write the artefact: {cause.strerror or cause}", place=Place(str(folder))
        ) from cause


def read_manifest(folder: Path) -> Manifest:
    """The manifest of ``folder``, its files checked against their sha256.

    Raises CompileError: FX512 no artefact, FX513 a manifest that cannot be read, FX514 another version,
    FX515 files that are missing or changed (all of them at once).
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise error(
            "FX512", f"no artefact here: there is no {MANIFEST}", place=Place(str(folder)),
            hint="flexc compile MODEL -o DIR writes one",
        )  # fmt: skip
    try:
        manifest = _parse(path.read_text(encoding="utf-8"), path)
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        message = f"the manifest cannot be read: {cause!r}"
        raise error("FX513", message, place=Place(str(path)), hint="compile the model again") from cause
    wrong = [
        Diagnostic("FX515", problem, Place(str(folder / file)), hint="compile the model again")
        for file, sha256 in manifest.files.items()
        if (problem := _problem(folder / file, sha256))
    ]
    if wrong:
        raise CompileError(wrong)
    return manifest


def _parse(text: str, path: Path) -> Manifest:
    found = json.loads(text)
    version = (found["schema"], found["schema_version"])
    if version != (SCHEMA, SCHEMA_VERSION):
        raise error(
            "FX514",
            f"the manifest's schema is {version[0]} version {version[1]}; this flexc ({flexc.__version__}) "
            f"reads {SCHEMA} version {SCHEMA_VERSION}",
            place=Place(str(path)),
            hint="compile the model again with this version",
        )
    options = CompileOptions.from_json(found["options"])
    if set(found["files"]) != {*(EXECUTOR_FILES if options.profile is Profile.BFPSIM else FILES)}:
        raise ValueError(f"its files are {', '.join(sorted(found['files']))}")
    return Manifest(
        Source(found["source"]["path"], found["source"]["sha256"]),
        options,
        tuple(_spec(spec) for spec in found["inputs"]),
        tuple(_spec(spec) for spec in found["outputs"]),
        dict(found["files"]),
        found["flexc_version"],
    )


def _spec(found: dict[str, Any]) -> TensorSpec:
    values = (IntegerValues(**{**one, "ignored": tuple(one["ignored"])}) for one in found.get("values", ()))
    return TensorSpec(
        found["name"], found["dtype"], tuple(int(extent) for extent in found["shape"]), tuple(values)
    )


def _problem(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "a file of the artefact is missing"
    return "" if sha256_of(path) == sha256 else "a file of the artefact was changed after it was written"


def _is_artefact(folder: Path) -> bool:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(found, dict) and found.get("schema") == SCHEMA
