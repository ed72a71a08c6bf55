"""The form of every JSON document that flexc writes: one object that names its schema and the version of it.

docs/schemas holds the schemas. A version counts up when a reader of the last one could be led astray.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def versioned_json(schema: str, version: int, content: Mapping[str, object]) -> str:
    """The document's text, indented, with a newline at its end.

    Raises ValueError for a number that is not finite: JSON has none.
    """
    document = {"schema": schema, "schema_version": version, **content}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def long_versioned_json(schema: str, version: int, content: Mapping[str, object]) -> str:
    """As :func:`versioned_json` for documents of many entries: a field, or an entry of a list, is one line.

    Entries may be dataclasses. Text of this form is made, and read by people and tools that go by lines,
    many times faster than an indented one.
    """
    document = {"schema": schema, "schema_version": version, **content}
    fields = ",\n".join(f"  {json.dumps(name)}: {_lines(value)}" for name, value in document.items())
    return f"{{\n{fields}\n}}\n"


def _lines(value: object) -> str:
    if not isinstance(value, list | tuple) or not value:
        return json.dumps(value, allow_nan=False, default=vars)
    entries = ",\n".join(f"    {json.dumps(entry, allow_nan=False, default=vars)}" for entry in value)
    return f"[\n{entries}\n  ]"


def finite_or_none(value: float | None) -> float | None:
    """The number as JSON has it: None for what is not finite."""
    return value if value is not None and math.isfinite(value) else None
