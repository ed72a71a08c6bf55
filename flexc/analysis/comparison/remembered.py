"""Comparisons of models without weights that were made before, read back from disk.

The key of one is made of all that it depends on: the contents of the models and of what is named by a path,
the options, and all of flexc's files. It is made without loading the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import flexc
from flexc.analysis.comparison.result import Comparison
from flexc.disk_cache import cache_folder, entry_path, read_entry, write_entry

SOURCE_SUFFIXES = (".py", ".toml", ".json")
EXTERNAL = b"location"
"""In every ONNX file that keeps tensors in other files: the key that names one."""


def comparison_entry(
    models: Sequence[Path], named: Sequence[str], options: Mapping[str, object]
) -> Path | None:
    """The file for a comparison of ``models``; ``named`` are its targets and policies, names or paths.

    None where nothing is kept on disk, and for models that keep tensors in other files.
    """
    if cache_folder() is None:
        return None
    contents = [(path.stem, path.read_bytes()) for path in models]
    if any(EXTERNAL in content for _, content in contents):
        return None
    key = {
        "models": [(name, _digest(content)) for name, content in contents],
        "named": [(name, _digest(Path(name).read_bytes()) if Path(name).is_file() else "") for name in named],
        "options": dict(options),
        "flexc": _sources(),
    }
    return entry_path("comparisons", json.dumps(key, sort_keys=True))


def read_comparison(path: Path) -> Comparison | None:
    """The comparison in an entry; None where there is none."""
    found = read_entry(path)
    return Comparison.from_json(found) if isinstance(found, str) else None


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Keeps a comparison in an entry."""
    write_entry(path, comparison.to_json())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content).hexdigest()


def _sources() -> str:
    """flexc's version, and the digest of its files."""
    digest = hashlib.blake2b(flexc.__version__.encode())
    for path in sorted(_source_files()):
        digest.update(path.encode())
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _source_files() -> Iterator[str]:
    for folder, _, names in os.walk(Path(flexc.__file__).parent, followlinks=True):
        yield from (f"{folder}/{name}" for name in names if name.endswith(SOURCE_SUFFIXES))
