"""Text of calls and literals: reads back as the same values, and fits the line."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexc.backends.executor.source_text import MAX_LINE, call_lines, literal_text, printable


@given(st.floats(width=32, allow_nan=False))
def test_reals_read_back_as_the_same_fp32(value: float) -> None:
    found = eval(literal_text(value), {"float": float})
    assert np.float32(found).tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize(
    ("value", "text"), [(float(np.float32(1e-5)), "1e-05"), (6.0, "6.0"), (True, "True")]
)
def test_literals_are_short(value: float, text: str) -> None:
    assert literal_text(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_read_back_and_comments_stay_on_their_line(text: str) -> None:
    assert ast.literal_eval(literal_text(text)) == text
    assert ast.dump(ast.parse(f"# {printable(text)}")) == ast.dump(ast.parse(""))
    assert isinstance(ast.literal_eval(f'"""{printable(text)}"""'), str)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_long_calls_are_broken_between_arguments(lengths: list[int]) -> None:
    arguments = ["x" * length for length in lengths]
    lines = call_lines("result = ", "function", arguments, depth=1)
    assert all(len(line) <= MAX_LINE for line in lines)
    (statement,) = ast.parse("if 1:\n" + "\n".join(lines)).body[0].body  # type: ignore[attr-defined]
    assert [argument.id for argument in statement.value.args] == arguments
