"""The file that describes a sweep, and the points that it stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from flexc.analysis.sweeping.point import Point
from flexc.diagnostics import CompileError, Diagnostic, Place, error

REQUIRED = ("models", "targets", "policies")
DEFAULTS: Mapping[str, list[Any]] = {"batches": [1], "train": [False], "batchnorms": ["lightnorm"]}
KINDS: Mapping[str, type] = {
    "models": str,
    "targets": str,
    "policies": str,
    "batches": int,
    "train": bool,
    "batchnorms": str,
}
BATCHNORMS = ("lightnorm", "fp32")


@dataclass(frozen=True)
class Sweep:
    """Lists whose every combination is a point; files are relative to the file of the sweep."""

    models: tuple[str, ...]
    targets: tuple[str, ...]
    policies: tuple[str, ...]
    batches: tuple[int, ...]
    train: tuple[bool, ...]
    batchnorms: tuple[str, ...]

    def points(self) -> Iterator[Point]:
        """Every combination, models outermost."""
        columns = (self.models, self.targets, self.policies, self.batches, self.train, self.batchnorms)
        for combination in product(*columns):
            yield Point(*combination)


def load_sweep(path: Path) -> Sweep:
    """The sweep of a TOML file with lists of models, targets and policies, and where wanted batches, train
    (``true`` for training steps) and batchnorms.

    Raises CompileError: FX585 for a file that is missing or no TOML, FX586 for each key that is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise error("FX585", f"no sweep can be read: {cause}", place=Place(str(path))) from cause
    found = list(_wrong(content, Place(str(path))))
    if found:
        raise CompileError(found)
    lists: dict[str, tuple[Any, ...]] = {key: tuple({**DEFAULTS, **content}[key]) for key in KINDS}
    folder = path.parent
    lists["models"] = tuple(str(folder / model) for model in lists["models"])
    for key in ("targets", "policies"):
        lists[key] = tuple(str(folder / name) if name.endswith(".toml") else name for name in lists[key])
    return Sweep(**lists)


def _wrong(content: Mapping[str, Any], place: Place) -> Iterator[Diagnostic]:
    for key in content.keys() - KINDS.keys():
        yield Diagnostic("FX586", f"unknown key '{key}'", place, hint=f"keys: {', '.join(KINDS)}")
    for key in REQUIRED:
        if key not in content:
            yield Diagnostic("FX586", f"'{key}' is missing", place, hint=f"{key} = [...]")
    for key, kind in KINDS.items():
        if key not in content:
            continue
        values = content[key]
        if not isinstance(values, list) or not values or not all(type(value) is kind for value in values):
            yield Diagnostic("FX586", f"'{key}' is no list of {kind.__name__}", place)
        elif len(set(values)) < len(values):
            yield Diagnostic("FX586", f"'{key}' names one value twice", place)
        elif key == "batches" and min(values) < 1:
            yield Diagnostic("FX586", "a batch below 1", place)
        elif key == "batchnorms" and not set(values) <= set(BATCHNORMS):
            yield Diagnostic("FX586", f"'{key}' has other values than {', '.join(BATCHNORMS)}", place)
