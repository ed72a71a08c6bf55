"""The part of JSON Schema that docs/schemas uses; an unknown keyword is an error of the schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
FOR_ONE_TYPE = {
    *("additionalProperties", "properties", "required"),
    *("items", "maxItems", "minItems"),
    *("maximum", "minimum", "pattern"),
}
"""Keywords that say nothing about values of other types."""
ANNOTATIONS = {"$schema", "$defs", "title", "description"}


def violations(document: Any, schema_name: str) -> list[str]:
    """What in ``document`` breaks docs/schemas/<schema_name>, each with its path; empty if nothing does."""
    schema = json.loads((SCHEMAS / schema_name).read_text(encoding="utf-8"))
    return _Validator(schema).check(document, schema, "$")


class _Validator:
    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root

    def check(self, value: Any, schema: dict[str, Any], path: str) -> list[str]:
        found: list[str] = []
        for keyword, argument in schema.items():
            if keyword in ANNOTATIONS:
                continue
            found += self._keyword(keyword, argument, value, schema, path)
        return found

    def _keyword(
        self, keyword: str, argument: Any, value: Any, schema: dict[str, Any], path: str
    ) -> list[str]:
        match keyword, value:
            case "$ref", _:
                return self.check(value, self.root["$defs"][argument.removeprefix("#/$defs/")], path)
            case "const" | "enum", _:
                allowed = [argument] if keyword == "const" else argument
                return [] if value in allowed else [f"{path}: {value!r} is not in {allowed}"]
            case "type", _:
                return [] if _is_of(value, argument) else [f"{path}: {value!r} is not of type {argument}"]
            case "allOf", _:
                return [line for one in argument for line in self.check(value, one, path)]
            case "oneOf", _:
                fitting = sum(not self.check(value, one, path) for one in argument)
                return [] if fitting == 1 else [f"{path}: fits {fitting} of the {len(argument)} in oneOf"]
            case "pattern", str():
                return [] if re.search(argument, value) else [f"{path}: {value!r} does not match {argument}"]
            case "minimum", int() | float():
                return [] if value >= argument else [f"{path}: {value} < {argument}"]
            case "maximum", int() | float():
                return [] if value <= argument else [f"{path}: {value} > {argument}"]
            case "minItems", list():
                return (
                    [] if len(value) >= argument else [f"{path}: {len(value)} items of at least {argument}"]
                )
            case "maxItems", list():
                return [] if len(value) <= argument else [f"{path}: {len(value)} items of at most {argument}"]
            case "required", dict():
                return [f"{path}: '{name}' is missing" for name in argument if name not in value]
            case "properties", dict():
                return self._members(
                    value, {name: argument[name] for name in argument if name in value}, path
                )
            case "additionalProperties", dict():
                names = [name for name in value if name not in schema.get("properties", {})]
                if argument is False:
                    return [f"{path}: '{name}' is not in the schema" for name in names]
                return self._members(value, dict.fromkeys(names, argument), path)
            case "items", list():
                return self._members(dict(enumerate(value)), dict.fromkeys(range(len(value)), argument), path)
            case _ if keyword in FOR_ONE_TYPE:
                return []
        raise NotImplementedError(f"schema keyword {keyword}")

    def _members(self, value: dict[Any, Any], schemas: dict[Any, dict[str, Any]], path: str) -> list[str]:
        return [
            line for name, one in schemas.items() for line in self.check(value[name], one, f"{path}.{name}")
        ]


def _is_of(value: Any, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in wanted
    return any(isinstance(value, TYPES[name]) for name in wanted)
