"""The tables of docs/accuracy.md are what data and code give; ``--update-golden`` rewrites them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.accuracy_card import fp32_norms_table, replaced, scalesim_table, simulation_table, zigzag_table
from tests.conftest import Golden

CARD = Path(__file__).parents[2] / "docs" / "accuracy.md"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("scalesim", scalesim_table),
        ("zigzag", zigzag_table),
        pytest.param("simulation", simulation_table, marks=pytest.mark.slow),
        pytest.param("fp32 norms", fp32_norms_table, marks=pytest.mark.slow),
    ],
)
def test_tables(name: str, table: Callable[[], list[str]], golden: Golden) -> None:
    text = CARD.read_text(encoding="utf-8")
    wanted = replaced(text, name, table())
    if golden.update:
        CARD.write_text(wanted, encoding="utf-8")
        return
    assert text == wanted


def test_a_missing_table_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no table called"):
        replaced("text", "absent", [])
