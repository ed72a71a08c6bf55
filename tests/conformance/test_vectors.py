"""Every vector of the numerics specification, by the fast kernels and by the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexc.numerics.conformance import run_file, run_folder
from flexc.numerics.conformance_ops import FAST, OPERATIONS, REFERENCE

VECTORS = Path(__file__).parent / "vectors"
FILES = sorted(VECTORS.glob("*.npz"))


def test_fast_kernels_match_every_vector() -> None:
    outcomes = run_folder(VECTORS, kernels=FAST)
    assert len(outcomes) == len(FILES) > 0
    assert [outcome for outcome in outcomes if not outcome.matched] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_reference_matches(file: Path) -> None:
    outcome = run_file(file, kernels=REFERENCE)
    assert outcome.matched, outcome.failure


def test_every_operation_has_a_vector() -> None:
    assert {outcome.op for outcome in run_folder(VECTORS)} == set(OPERATIONS)
