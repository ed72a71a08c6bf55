"""Comparisons from the files that ``flexc compare --json`` printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import NoReturn

from flexc.analysis.comparison.result import SCHEMA, SCHEMA_VERSION, Comparison, MeanRow, RatioRow
from flexc.diagnostics import Place, error


def read_comparison(path: Path) -> Comparison:
    """The comparison in ``path``.

    Raises CompileError FX558 for a file that cannot be read, holds no comparison, or one of another schema
    version, and for ratios that are no positive numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError) as cause:
        raise error("FX558", f"the comparison cannot be read: {cause}", place=Place(str(path))) from cause
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        _refuse(path, "this is no comparison", hint="flexc compare MODEL.. --json prints one")
    if document.get("schema_version") != SCHEMA_VERSION:
        _refuse(
            path,
            f"the comparison has schema version {document.get('schema_version')!r}; "
            f"this flexc reads version {SCHEMA_VERSION}",
        )
    try:
        found = Comparison.from_json(text)
        sound = _are_positive((*found.ratios, *found.means))
    except (AttributeError, KeyError, TypeError) as cause:
        raise error("FX558", f"the comparison is damaged: {cause!r}", place=Place(str(path))) from cause
    if not sound:
        _refuse(path, "the comparison is damaged: ratios have to be positive")
    return found


def _are_positive(rows: Iterable[RatioRow | MeanRow]) -> bool:
    ranges = [each for row in rows for each in (row.speedup, row.energy_ratio)]
    return all(0 < each.low <= each.nominal <= each.high and isfinite(each.high) for each in ranges)


def _refuse(path: Path, message: str, hint: str = "") -> NoReturn:
    raise error("FX558", message, place=Place(str(path)), hint=hint)
