"""Mappings that were searched before: in this process, and on disk.

An entry is a file of its own, named by the hash of all that a search depends on: the problem (pass, loops,
formats, groups), the contents of the target, and the sources of the search. So an entry is never out of date,
and a mapping from the cache is the one that the search would give. Entries that are damaged are searched
anew and written over. A disk that cannot be read or written is as good as an empty one.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import flexc
from flexc.diagnostics import CompileError
from flexc.ir.mapping import Factor, Mapping, PeFactor
from flexc.mapping.legality import check
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.output_file import write_file
from flexc.target.machine import Target

VARIABLE = "FLEXC_CACHE_DIR"
"""Environment variable that names the folder of the cache; empty: nothing is kept on disk."""


@lru_cache(maxsize=1 << 14)
def find_mapping(problem: ContractionProblem, target: Target) -> Mapping:
    """The best mapping of ``problem`` on ``target``: remembered, read from disk, or searched.

    Raises as :func:`~flexc.mapping.search.search`. A mapping of the search that is not legal is a bug, and an
    AssertionError.
    """
    folder = cache_folder()
    path = None if folder is None else _path(folder, problem, target)
    found = None if path is None else _read(path)
    if found is not None and not check(problem, found, target):
        return found
    mapping = search(problem, target)
    violations = check(problem, mapping, target)
    if violations:
        raise AssertionError(f"{problem.describe()}: illegal mapping {mapping}: {'; '.join(violations)}")
    if path is not None:
        _write(path, mapping)
    return mapping


def cache_folder() -> Path | None:
    """The folder of the cache, by environment: ``FLEXC_CACHE_DIR``, else flexc's in ``XDG_CACHE_HOME``."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flexc"


def _path(folder: Path, problem: ContractionProblem, target: Target) -> Path:
    machine = {name: value for name, value in asdict(target).items() if name != "name"}
    key = json.dumps([asdict(problem), machine, _sources()], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()
    return folder / "mappings" / digest[:2] / f"{digest}.json"


@cache
def _sources() -> str:
    """flexc's version, and the hash of the modules that decide what a search gives."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256(flexc.__version__.encode())
    for path in sorted((*root.glob("mapping/*.py"), *root.glob("cost/*.py"), root / "ir" / "mapping.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Mapping | None:
    """The mapping of an entry; None where there is none that is whole."""
    try:
        entry = json.loads(path.read_bytes())
        fields = entry["mapping"]
        if entry["sha256"] != _digest(fields):
            return None
        return Mapping(
            fields["stream"],
            Factor(**fields["lane"]),
            Factor(**fields["unit"]),
            tuple(PeFactor(**one) for one in fields["pes"]),
            tuple(Factor(**one) for one in fields["cores"]),
            tuple(fields["tile"]),
            tuple(fields["order"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, mapping: Mapping) -> None:
    fields = asdict(mapping)
    text = json.dumps({"mapping": fields, "sha256": _digest(fields)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda file: file.write_text(text))
    except (OSError, CompileError):
        # The next process searches again.
        return


def _digest(fields: Any) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
