"""Finding policies: the catalog's by name, a user's by path."""

from __future__ import annotations

import difflib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from flexc.diagnostics import Place, error
from flexc.precision.emulator_file import parse_emulator_file
from flexc.precision.policy import Policy
from flexc.precision.policy_file import parse_policy

DEFAULT_POLICY = "FB16"
EMULATOR_SUFFIX = ".json"
_SUFFIX = ".toml"


def catalog_names() -> tuple[str, ...]:
    """The named policies, sorted."""
    names = (entry.name for entry in _catalog().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def load_policy(name_or_path: str, *, everywhere: bool = False) -> Policy:
    """The policy of the catalog with that name, or that of a file: .toml, or .json of the published emulator.

    ``everywhere`` drops the overrides, so that the default holds for every layer.
    Raises CompileError: FX320 for a name or file that is not there, FX321 to FX329 for what a file has wrong.
    """
    if name_or_path.endswith(EMULATOR_SUFFIX):
        policy = import_policy(Path(name_or_path))
    else:
        policy = parse_policy(*_read(name_or_path))
    return policy.everywhere() if everywhere else policy


def import_policy(path: Path) -> Policy:
    """The policy of a configuration file of the published emulator, named after the file.

    Raises CompileError: FX320 for a file that is not there, FX326 to FX329 for what it has wrong.
    """
    return parse_emulator_file(_text_of(path), path.name, path.stem)


def _read(name_or_path: str) -> tuple[str, str]:
    if name_or_path.endswith(_SUFFIX):
        return _text_of(Path(name_or_path)), name_or_path
    names = catalog_names()
    if name_or_path not in names:
        near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it is one of {', '.join(names)}, or a .toml file"
        raise error("FX320", f"there is no policy '{name_or_path}'", hint=hint)
    entry = _catalog() / f"{name_or_path}{_SUFFIX}"
    return entry.read_text(encoding="utf-8"), entry.name


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise error("FX320", f"there is no policy file '{path}'")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise error("FX320", f"the policy file is no text: {problem}", place=Place(str(path))) from problem


def _catalog() -> Traversable:
    return files("flexc.precision") / "catalog"
