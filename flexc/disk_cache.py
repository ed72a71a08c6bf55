"""Results that took long, kept on disk as JSON: one file an entry, named by the hash of all it depends on.

So an entry is never out of date. One that is damaged counts as missing and is written over, and a disk that
cannot be read or written is as good as an empty one.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from flexc.diagnostics import CompileError
from flexc.output_file import write_file

VARIABLE = "FLEXC_CACHE_DIR"
"""Environment variable that names the folder of the cache; empty: nothing is kept on disk."""


def cache_folder() -> Path | None:
    """The folder of the cache, by environment: ``FLEXC_CACHE_DIR``, else flexc's in ``XDG_CACHE_HOME``."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flexc"


def entry_path(kind: str, key: str) -> Path | None:
    """The file of the entry of a ``kind`` (a folder) for a key; None where nothing is kept on disk."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(key.encode()).hexdigest()
    return folder / kind / digest[:2] / f"{digest}.json"


def read_entry(path: Path) -> Any:
    """What was written to an entry; None where there is none that is whole."""
    try:
        entry = json.loads(path.read_bytes())
        return entry["content"] if entry["sha256"] == digest_of(entry["content"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_entry(path: Path, content: Any) -> None:
    """Keep ``content``, of which JSON can be made, in an entry."""
    text = json.dumps({"content": content, "sha256": digest_of(content)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda file: file.write_text(text))
    except (OSError, CompileError):
        # The next process does the work again.
        return


def digest_of(content: Any) -> str:
    """The checksum of an entry's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
