"""Reading a target file: strict TOML into a :class:`~flexc.target.machine.Target`.

Unknown, missing and repeated keys, wrong types and values out of range are all errors (FX401 to FX404), and
all of a file's are reported together.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from flexc.diagnostics import CompileError, Diagnostic, Place, error
from flexc.target.machine import Target

CATALOG = Path(__file__).parent / "catalog"
TYPE_NAMES = {"int": "an integer", "float": "a number", "str": "a string"}


def catalog_names() -> tuple[str, ...]:
    """Names of the targets that come with flexc, sorted."""
    return tuple(sorted(path.stem for path in CATALOG.glob("*.toml")))


@lru_cache(maxsize=64)
def load_target(name_or_path: str) -> Target:
    """The target of that name in the catalog, or in the TOML file of that path.

    Raises :class:`CompileError` for an unknown name, or a file that cannot be read or breaks the rules.
    """
    path = CATALOG / f"{name_or_path}.toml" if name_or_path in catalog_names() else Path(name_or_path)
    if path.suffix != ".toml" or not path.is_file():
        raise error(
            "FX401",
            f"no target '{name_or_path}'",
            hint=f"targets: {', '.join(catalog_names())}, or the path of a .toml file",
        )
    return parse_target(path.read_bytes(), str(path))


def parse_target(content: bytes, file: str = "") -> Target:
    """The target that TOML text describes; ``file`` is named in errors. Raises :class:`CompileError`."""
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error("FX402", f"not a target file: {problem}", place=Place(file)) from problem
    found: list[Diagnostic] = []
    target = _record(Target, table, "", file, found)
    if found:
        raise CompileError(found)
    assert isinstance(target, Target)
    return target


def _record(
    kind: type[Any], table: Mapping[str, Any], prefix: str, file: str, found: list[Diagnostic]
) -> object:
    """A ``kind`` of the table's values, or None once ``found`` says why not."""
    before = len(found)
    known = {each.name: each for each in fields(kind)}
    types = get_type_hints(kind)
    found += [_unknown(key, tuple(known), prefix, file) for key in table if key not in known]
    values: dict[str, Any] = {}
    for name, each in known.items():
        path = prefix + name
        if name not in table:
            found.append(Diagnostic("FX403", f"no value for '{path}'", Place(file), hint=_meaning(each)))
        elif each.metadata:
            values[name] = _checked(each, table[name], path, file, found)
        elif isinstance(table[name], dict):
            values[name] = _record(types[name], table[name], path + ".", file, found)
        else:
            found.append(Diagnostic("FX403", f"'{path}' must be a table", Place(file), hint=_meaning(each)))
    return None if len(found) > before else kind(**values)


def _checked(each: Field[Any], value: Any, path: str, file: str, found: list[Diagnostic]) -> Any:
    """The value in its field's type; what is wrong with it goes to ``found``."""
    wanted = str(each.type)
    if wanted == "float" and type(value) is int:
        value = float(value)
    low, high = each.metadata["minimum"], each.metadata["maximum"]
    if type(value).__name__ != wanted:
        problem = f"'{path}' must be {TYPE_NAMES[wanted]}, not {value!r}"
        found.append(Diagnostic("FX403", problem, Place(file), hint=_meaning(each)))
    elif wanted == "str" and not value.strip():
        found.append(Diagnostic("FX403", f"'{path}' is empty", Place(file), hint=_meaning(each)))
    elif wanted != "str" and not low <= value <= high:
        problem = f"'{path}' is {value}, outside {low} to {high}"
        found.append(Diagnostic("FX404", problem, Place(file), hint=_meaning(each)))
    return value


def _meaning(each: Field[Any]) -> str:
    return str(each.metadata.get("meaning", ""))


def _unknown(key: str, known: Sequence[str], prefix: str, file: str) -> Diagnostic:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean '{prefix}{near[0]}'?" if near else "targets hold no such value"
    return Diagnostic("FX403", f"unknown key '{prefix}{key}'", Place(file), hint=hint)
