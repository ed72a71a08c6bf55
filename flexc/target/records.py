"""Strict records from TOML: a dataclass of settings and of further records, every problem reported.

Unknown and missing keys, wrong types and values out of range are errors (FX403, FX404). A field declared by
:func:`~flexc.target.tables.setting` holds a value; one without it is a record of its own.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, get_type_hints

from flexc.diagnostics import Diagnostic, Place, error

TYPE_NAMES = {"int": "an integer", "float": "a number", "str": "a string", "bool": "true or false"}


def parse_toml(content: bytes, file: str) -> dict[str, Any]:
    """The table of a TOML file; CompileError FX402 where it is none."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error("FX402", f"not a target file: {problem}", place=Place(file)) from problem


def read_record(
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
            values[name] = read_record(types[name], table[name], path + ".", file, found)
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
    elif wanted in ("int", "float") and not low <= value <= high:
        problem = f"'{path}' is {value}, outside {low} to {high}"
        found.append(Diagnostic("FX404", problem, Place(file), hint=_meaning(each)))
    return value


def _meaning(each: Field[Any]) -> str:
    return str(each.metadata.get("meaning", ""))


def _unknown(key: str, known: Sequence[str], prefix: str, file: str) -> Diagnostic:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean '{prefix}{near[0]}'?" if near else "targets hold no such value"
    return Diagnostic("FX403", f"unknown key '{prefix}{key}'", Place(file), hint=hint)
