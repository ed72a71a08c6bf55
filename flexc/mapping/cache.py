"""Mappings that were searched before: in this process, and on disk.

An entry is a file of its own, named by the hash of all that a search depends on: the problem (pass, loops,
formats, groups), the contents of the target, and the sources of the search. So an entry is never out of date,
and a mapping from the cache is the one that the search would give. Entries that are damaged are searched
anew and written over. A disk that cannot be read or written is as good as an empty one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path

import flexc
from flexc.disk_cache import entry_path, read_entry, write_entry
from flexc.ir.mapping import Factor, Mapping, PeFactor
from flexc.mapping.legality import check
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.search import search
from flexc.target.machine import Target


@lru_cache(maxsize=1 << 14)
def find_mapping(problem: ContractionProblem, target: Target) -> Mapping:
    """The best mapping of ``problem`` on ``target``: remembered, read from disk, or searched.

    Raises as :func:`~flexc.mapping.search.search`. A mapping of the search that is not legal is a bug, and an
    AssertionError.
    """
    path = _path(problem, target)
    found = None if path is None else _read(path)
    if found is not None and not check(problem, found, target):
        return found
    mapping = search(problem, target)
    violations = check(problem, mapping, target)
    if violations:
        raise AssertionError(f"{problem.describe()}: illegal mapping {mapping}: {'; '.join(violations)}")
    if path is not None:
        write_entry(path, asdict(mapping))
    return mapping


def _path(problem: ContractionProblem, target: Target) -> Path | None:
    key = f"{json.dumps(asdict(problem), sort_keys=True)} {_machine(target)} {_sources()}"
    return entry_path("mappings", key)


@lru_cache(maxsize=64)
def _machine(target: Target) -> str:
    """The contents of a target but its name."""
    machine = {name: value for name, value in asdict(target).items() if name != "name"}
    return json.dumps(machine, sort_keys=True)


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
    fields = read_entry(path)
    if fields is None:
        return None
    try:
        return Mapping(
            fields["stream"],
            Factor(**fields["lane"]),
            Factor(**fields["unit"]),
            tuple(PeFactor(**one) for one in fields["pes"]),
            tuple(Factor(**one) for one in fields["cores"]),
            tuple(fields["tile"]),
            tuple(fields["order"]),
        )
    except (KeyError, TypeError):
        return None
