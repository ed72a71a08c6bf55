"""The tables of docs/comparison.md are those of the stored results; ``--update-golden`` rewrites them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flexc.analysis.comparison.manifest import load_manifest, manifest_names
from flexc.analysis.comparison.result import Comparison
from flexc.analysis.comparison.run import compare
from flexc.analysis.comparison.text import arrays, lightnorm_share
from tests.accuracy_card import replaced
from tests.comparison_tables import (
    energy_of,
    iso_table,
    mean_matrix,
    pass_matrix,
    ratio_matrix,
    speed_of,
    varied_table,
)
from tests.conftest import Golden
from tests.json_schema import violations

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "comparison.md"


def stored(name: str) -> Comparison:
    """What a manifest gave."""
    return Comparison.from_json((DOCS / "data" / "comparison" / f"{name}.json").read_text(encoding="utf-8"))


def page_tables() -> dict[str, list[str]]:
    """Every table of the page by the name of its place."""
    found = stored("flexblock")
    others = ("flexblock-multipliers", "flexblock-none", "flexblock-lightnorm")
    return {
        "speed": mean_matrix(found, speed_of).markdown(),
        "energy": mean_matrix(found, energy_of).markdown(),
        "passes": pass_matrix(found).markdown(),
        "iso": iso_table([found, *map(stored, others)]),
        "arrays": arrays(found).markdown(),
        "speed by model": ratio_matrix(found, speed_of).markdown(),
        "energy by model": ratio_matrix(found, energy_of).markdown(),
        "varied": varied_table(found),
        "lightnorm": lightnorm_share(stored("lightnorm")).markdown(),
    }


def test_tables(golden: Golden) -> None:
    text = wanted = PAGE.read_text(encoding="utf-8")
    for name, lines in page_tables().items():
        wanted = replaced(wanted, name, lines)
    if golden.update:
        PAGE.write_text(wanted, encoding="utf-8")
        return
    assert text == wanted


@pytest.mark.parametrize("name", manifest_names())
def test_what_is_stored_is_what_the_code_gives(name: str) -> None:
    """One model of each manifest again, on two targets, under one policy, at the values of the targets."""
    manifest, found = load_manifest(name), stored(name)
    assert {row.model for row in found.machines} == set(manifest.models)
    options = replace(
        manifest.options, targets=manifest.options.targets[:2], policies=("FB12",), ranges=False
    )
    one = replace(manifest, models=("mobilenet_v1-cifar",), options=options)
    again = compare(one.loads(), one.options)
    assert again.machines == tuple(
        row
        for row in found.machines
        if row.model in one.models and row.target in options.targets and row.policy in ("", "FB12")
    )
    for row in again.ratios:
        key = (row.model, row.policy, row.against)
        (before,) = (each for each in found.ratios if (each.model, each.policy, each.against) == key)
        assert row.speedup.nominal == before.speedup.nominal


@pytest.mark.parametrize("name", manifest_names())
def test_stored_results_follow_the_schema(name: str) -> None:
    text = (DOCS / "data" / "comparison" / f"{name}.json").read_text(encoding="utf-8")
    assert violations(json.loads(text), "comparison.json") == []
