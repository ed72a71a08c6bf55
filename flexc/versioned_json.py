"""The form of every JSON document that flexc writes: one object that names its schema and the version of it.

docs/schemas holds the schemas. A version counts up when a reader of the last one could be led astray.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


def versioned_json(schema: str, version: int, content: Mapping[str, object]) -> str:
    """The document's text, indented, with a newline at its end.

    Raises ValueError for a number that is not finite: JSON has none.
    """
    document = {"schema": schema, "schema_version": version, **content}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
