"""The trained text-direction classifier: equal bytes in both engines, and onnxruntime's labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from flexc.analysis.compare import run_onnxruntime
from flexc.datasets.text_direction import render_lines
from flexc.program import Program
from tests.end_to_end.classifier import MODEL, compiled, images
from tests.end_to_end.engines import (
    POLICIES,
    require_close_engines,
    require_equal_bytes,
    require_onnxruntime_outputs,
)

BATCH = 20
LABELS_KEPT = 0.95
"""Least share of onnxruntime's labels that FB16 and FB24 with LightNorm have to give."""


def labels(program: Program, lines: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The executor's label of each line, run in batches."""
    (output,) = program.outputs
    batches = [lines[first : first + BATCH] for first in range(0, len(lines), BATCH)]
    return np.concatenate([program.run({"x": batch})[output.name].argmax(1) for batch in batches])


@pytest.mark.parametrize(
    ("policy", "batchnorm", "batch"),
    [
        ("FB12", "lightnorm", 1),
        ("FB16", "lightnorm", 2),
        ("FB24", "lightnorm", 1),
        ("FB24", "fp32", 2),
        ("FB16A-FB12W", "lightnorm", 2),
    ],
)
def test_engines_give_equal_bytes(policy: str, batchnorm: str, batch: int) -> None:
    program = compiled(batch, policy=policy, batchnorm=batchnorm)
    require_equal_bytes(program, {"x": images(batch)}, POLICIES[policy])


def test_fp32_is_near_onnxruntime_in_both_engines() -> None:
    program = compiled(2, profile="fp32")
    require_onnxruntime_outputs(MODEL, program, {"x": images(2)})
    require_close_engines(program, {"x": images(2)})


def check_labels(count: int, record_property: Any) -> None:
    lines = render_lines(count, seed=0)
    (scores,) = run_onnxruntime(MODEL, {"x": lines.images}).values()
    expected = scores.argmax(1)
    assert (expected == lines.labels).mean() > 0.9
    exact = labels(compiled(BATCH, policy="FB24", batchnorm="fp32"), lines.images)
    assert (exact == expected).all()
    for policy in ("FB24", "FB16"):
        share = float((labels(compiled(BATCH, policy=policy), lines.images) == expected).mean())
        record_property(f"{policy}_same_labels", share)
        assert share >= LABELS_KEPT, policy
    coarse = labels(compiled(BATCH, policy="FB12"), lines.images)
    record_property("FB12_same_labels", float((coarse == expected).mean()))


def test_labels_of_60_lines(record_property: Any) -> None:
    check_labels(60, record_property)


@pytest.mark.slow
def test_labels_of_300_lines(record_property: Any) -> None:
    check_labels(300, record_property)
