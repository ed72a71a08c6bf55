"""JSON that commands print follows the schemas in docs/schemas, and the schemas are strict."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from flexc.analysis.compare import Distance
from flexc.analysis.layers import Layer, LayerDistance
from flexc.artefact import FILES, Manifest, Source
from flexc.backends.agreement import Agreement, Difference
from flexc.cli.run_report import RunReport
from flexc.options import CompileOptions
from flexc.tensor_spec import TensorSpec
from tests.json_schema import SCHEMAS, violations

APART = Distance("y", (1, 2), 0.5, 20.0, 0.99)
EQUAL = Distance("z", (), 0.0, math.inf, None)
LAYERS = (LayerDistance(Layer(3, "bn", "BatchNormalization", "relu", "a", "b"), APART),)
DIFFERENCE = Difference("y", (0, 1), 1.0, math.nan, "3f800000", "7fc00000")


def manifest() -> dict[str, Any]:
    spec = TensorSpec("x", "float32", (1, 3))
    options = CompileOptions(input_shapes={"x": (1, 3)}, batch=1, rounding="truncate")
    files = dict.fromkeys(FILES, "0" * 64)
    found: dict[str, Any] = json.loads(
        Manifest(Source("m.onnx", "a" * 64), options, (spec,), (spec,), files).to_json()
    )
    return found


def report(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {"engine": "executor", "agreement": None, "outputs": None, "layers": None}
    found: dict[str, Any] = json.loads(RunReport(**{**parts, **changes}).to_json())
    return found


def test_manifests_follow_the_schema() -> None:
    assert violations(manifest(), "manifest.json") == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"engine": "both", "agreement": Agreement(("x", "y"), None, True)},
        {"engine": "both", "agreement": Agreement(("x", "y"), DIFFERENCE, False)},
        {"outputs": (APART, EQUAL), "layers": LAYERS},
    ],
)
def test_run_reports_follow_the_schema(changes: dict[str, Any]) -> None:
    assert violations(report(**changes), "run.json") == []


def test_the_schemas_refuse_what_is_missing_surplus_or_of_another_type() -> None:
    assert violations({**manifest(), "surplus": 1}, "manifest.json") == ["$: 'surplus' is not in the schema"]
    assert violations({**manifest(), "schema_version": 2}, "manifest.json") != []
    assert violations({**manifest(), "inputs": [{"name": "x"}]}, "manifest.json") != []
    assert violations({**report(), "engine": None}, "run.json") != []
    assert violations(report(outputs=(APART,)) | {"layers": [{"name": "y"}]}, "run.json") != []


def test_every_schema_is_one() -> None:
    for path in SCHEMAS.iterdir():
        schema = json.loads(path.read_text(encoding="utf-8"))
        assert schema["properties"]["schema_version"] == {"const": 1}, path.name


def test_a_reader_sees_the_numbers() -> None:
    agreement = Agreement(("x", "y"), DIFFERENCE, True)
    lines = RunReport("both", agreement, (APART, EQUAL), LAYERS).lines()
    assert lines == [
        "executor and stream differ: 'y' at [0, 1]: executor 1.0 (0x3f800000), stream nan (0x7fc00000)",
        "",
        "outputs against onnxruntime",
        "output  shape   max error  SQNR dB    cosine",
        "y       1x2           0.5     20.0  0.990000",
        "z       scalar          0      inf         -",
        "",
        "layers against the fp32 profile",
        "node  name  op                         shape  max error  SQNR dB    cosine",
        "3     bn    BatchNormalization + relu  1x2          0.5     20.0  0.990000",
    ]
