"""Strings in IR text: every string of Unicode comes back, also beside what is escaped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xdsl.dialects.builtin import BytesAttr, StringAttr

import flexc
from flexc.ir.attributes import source
from flexc.ir.parser import TextParser
from flexc.ir.program import make_context
from tests.onnx_models import build, make_node, random, save

NAMES = st.text(st.characters(exclude_categories=["Cs"]))


@given(NAMES, NAMES)
@example('é "quoted"\n', "\x00\\")
@example("", "日本語 🙂\u202e")
def test_strings_come_back(name: str, operator: str) -> None:
    for attribute in (source(name, operator, 3), StringAttr(name)):
        text = str(attribute)
        assert text.isascii()
        assert TextParser(make_context(), text).parse_attribute() == attribute


def test_what_is_no_text_stays_bytes() -> None:
    found = TextParser(make_context(), r'"\FF\FE"').parse_attribute()
    assert isinstance(found, BytesAttr)


@pytest.mark.parametrize("name", ['日本語 "x"\n', "\u202ené"])
def test_an_artefact_with_names_in_any_language_runs(name: str, tmp_path: Path) -> None:
    image = random(1, 8, 6, 6)
    node = make_node("Conv", [f"x{name}", "w"], [f"y{name}"], name=name, pads=[1] * 4)
    model = save(
        build([node], {f"x{name}": image}, {"w": random(8, 8, 3, 3)}, outputs=[f"y{name}"]), tmp_path
    )
    program = flexc.compile(model, output=tmp_path / "artefact")
    expected = program.run({f"x{name}": image}, engine="both")
    loaded = flexc.load(tmp_path / "artefact")
    assert str(loaded.graph.module) == str(program.graph.module)
    found = loaded.run({f"x{name}": image}, engine="both")
    np.testing.assert_array_equal(found[f"y{name}"], expected[f"y{name}"])
