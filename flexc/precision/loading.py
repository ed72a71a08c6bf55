"""Finding policies: the catalog's by name, a user's by path."""

from __future__ import annotations

import difflib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from flexc.diagnostics import error
from flexc.precision.policy import Policy
from flexc.precision.policy_file import parse_policy

DEFAULT_POLICY = "FB16"
_SUFFIX = ".toml"


def catalog_names() -> tuple[str, ...]:
    """The named policies, sorted."""
    names = (entry.name for entry in _catalog().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def load_policy(name_or_path: str, *, everywhere: bool = False) -> Policy:
    """The policy of the catalog with that name, or that of a TOML file (a name that ends in .toml).

    ``everywhere`` drops the overrides, so that the default holds for every layer.
    Raises CompileError: FX320 for a name or file that is not there, FX321 to FX325 for what a file has wrong.
    """
    policy = parse_policy(*_read(name_or_path))
    return policy.everywhere() if everywhere else policy


def _read(name_or_path: str) -> tuple[str, str]:
    if name_or_path.endswith(_SUFFIX):
        path = Path(name_or_path)
        if not path.is_file():
            raise error("FX320", f"there is no policy file '{name_or_path}'")
        return path.read_text(encoding="utf-8"), name_or_path
    names = catalog_names()
    if name_or_path not in names:
        near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it is one of {', '.join(names)}, or a .toml file"
        raise error("FX320", f"there is no policy '{name_or_path}'", hint=hint)
    entry = _catalog() / f"{name_or_path}{_SUFFIX}"
    return entry.read_text(encoding="utf-8"), entry.name


def _catalog() -> Traversable:
    return files("flexc.precision") / "catalog"
