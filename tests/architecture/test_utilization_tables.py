"""docs/mapping.md shows the utilization that the search reaches now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.utilization import MODES, table
from flexc.target import load_target
from tests.conftest import Golden

DOCUMENT = Path(__file__).parents[2] / "docs" / "mapping.md"


@pytest.mark.parametrize("mode", MODES)
def test_the_table_is_what_the_search_finds(mode: str, golden: Golden) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    block = re.search(rf"(?<=<!-- utilization {mode} -->\n)(?:\|.*\n)*", text)
    assert block, f"docs/mapping.md has no table of {mode}"
    found = "".join(f"{line}\n" for line in table(load_target("flexblock"), mode))
    if golden.update:
        DOCUMENT.write_text(text[: block.start()] + found + text[block.end() :], encoding="utf-8")
        return
    assert block[0] == found
