"""Puts tables into a Markdown document, between ``<!-- table: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MARK = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """``text`` with every marked table renewed; ValueError for a mark without a table, or the reverse."""
    marked = {found[2] for found in _MARK.finditer(text)}
    if marked != set(tables):
        raise ValueError(f"marked and made tables differ: {sorted(marked ^ set(tables))}")
    return _MARK.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n{found[3]}", text)
