"""The tables of docs/comparison.md are those of the stored results; ``--update-golden`` rewrites them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flexc.analysis.comparison.manifest import load_manifest
from flexc.analysis.comparison.result import Comparison
from flexc.analysis.comparison.run import compare
from flexc.analysis.comparison.text import lightnorm_share
from tests.accuracy_card import replaced
from tests.conftest import Golden
from tests.json_schema import violations

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "comparison.md"


def stored(name: str) -> Comparison:
    """What a manifest gave."""
    return Comparison.from_json((DOCS / "data" / "comparison" / f"{name}.json").read_text(encoding="utf-8"))


def page_tables() -> dict[str, list[str]]:
    """Every table of the page by the name of its place."""
    return {"lightnorm": lightnorm_share(stored("lightnorm")).markdown()}


def test_tables(golden: Golden) -> None:
    text = wanted = PAGE.read_text(encoding="utf-8")
    for name, lines in page_tables().items():
        wanted = replaced(wanted, name, lines)
    if golden.update:
        PAGE.write_text(wanted, encoding="utf-8")
        return
    assert text == wanted


@pytest.mark.parametrize("name", ["lightnorm"])
def test_what_is_stored_is_what_the_code_gives(name: str) -> None:
    """One model of each manifest again, at the values of the targets."""
    manifest = load_manifest(name)
    found = stored(name)
    assert {row.model for row in found.machines} == set(manifest.models)
    one = replace(manifest, models=("mobilenet_v1-cifar",), options=replace(manifest.options, ranges=False))
    again = compare(one.loads(), one.options)
    assert again.machines == tuple(row for row in found.machines if row.model == "mobilenet_v1-cifar")
    nominal = {(row.policy, row.against): row.speedup.nominal for row in again.ratios}
    assert nominal == {
        (row.policy, row.against): row.speedup.nominal
        for row in found.ratios
        if row.model == "mobilenet_v1-cifar"
    }


@pytest.mark.parametrize("name", ["lightnorm"])
def test_stored_results_follow_the_schema(name: str) -> None:
    text = (DOCS / "data" / "comparison" / f"{name}.json").read_text(encoding="utf-8")
    assert violations(json.loads(text), "comparison.json") == []
