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


def finite_or_none(value: float | None) -> float | None:
    """The number as JSON has it: None for what is not finite."""
    return value if value is not None and math.isfinite(value) else None
