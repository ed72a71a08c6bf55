"""JSON that commands print follows the schemas in docs/schemas, and the schemas are strict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flexc.analysis.compare import Distance
from flexc.analysis.layers import Layer, LayerDistance
from flexc.artefact import FILES, Manifest, Source
from flexc.backends.agreement import Agreement, Difference
from flexc.cli import main
from flexc.cli.run_report import RunReport
from flexc.options import CompileOptions
from flexc.precision.loading import catalog_names as policy_names
from flexc.target import catalog_names as target_names
from flexc.target.load_baseline import baseline_names
from flexc.tensor_spec import TensorSpec
from flexc.versioned_json import versioned_json
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
        {"engine": "both", "agreement": Agreement(("x", "y"), None)},
        {"engine": "both", "agreement": Agreement(("x",), DIFFERENCE, ("y",), ("z",))},
        {"outputs": (APART, EQUAL), "layers": LAYERS},
    ],
)
def test_run_reports_follow_the_schema(changes: dict[str, Any]) -> None:
    assert violations(report(**changes), "run.json") == []


def test_the_schemas_refuse_what_is_missing_surplus_or_of_another_type() -> None:
    assert violations({**manifest(), "surplus": 1}, "manifest.json") == ["$: 'surplus' is not in the schema"]
    assert violations({**manifest(), "schema_version": 1}, "manifest.json") != []
    assert violations({**manifest(), "inputs": [{"name": "x"}]}, "manifest.json") != []
    assert violations({**report(), "engine": None}, "run.json") != []
    assert violations(report(outputs=(APART,)) | {"layers": [{"name": "y"}]}, "run.json") != []


def printed(*arguments: str, status: int = 0) -> dict[str, Any]:
    """The document that a command prints: all of stdout, with a newline at its end."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == status, result.output
    assert result.stdout.endswith("}\n")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("command", "names"),
    [("targets", (*target_names(), *baseline_names())), ("policies", policy_names())],
    ids=lambda value: value[0],
)
def test_catalogs_follow_their_schemas(command: str, names: tuple[str, ...]) -> None:
    everything = printed(command, "--json")
    assert violations(everything, f"{command}.json") == []
    assert [one["name"] for one in everything[command]] == list(names)
    assert printed(command, "--format", "json") == everything
    for name, entry in zip(names, everything[command], strict=True):
        assert printed(command, name, "--json") == {**everything, command: [entry]}


def test_a_policy_that_says_everything_follows_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ndescription = "all there is"\n[default]\nformat = "FB16"\nrounding = "stochastic"\n'
        '[default.weight_grad.gradient]\ngroup_length = 12\n[[override]]\nnode = "layer?.*"\nkind = "conv"\n'
        "[override.forward.activation]\ntile = [1, 8, 1, 1]\n"
    )
    found = printed("policies", str(path), "--json")
    assert violations(found, "policies.json") == []
    (policy,) = found["policies"]
    assert policy["default"][1] == {"pass": "weight_grad", "operand": "gradient", "group_length": 12}
    assert policy["overrides"] == [
        {
            "if": {"node": "layer?.*", "kind": "conv"},
            "set": [{"pass": "forward", "operand": "activation", "tile": [1, 8, 1, 1]}],
        }
    ]


def test_outcomes_of_vectors_follow_the_schema(tmp_path: Path) -> None:
    (tmp_path / "damaged.npz").write_bytes(b"")
    found = printed("conformance", str(tmp_path), "--json", status=1)
    assert violations(found, "conformance.json") == []
    assert (found["matched"], found["failed"], found["outcomes"][0]["op"]) == (0, 1, "?")


def test_formats_that_contradict_each_other_are_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["targets", "--json", "--format", "table"])
    assert result.exit_code == 2
    assert "--json and --format table exclude each other" in result.stderr
    assert printed("targets", "--json", "--format", "json") == printed("targets", "--json")


def test_documents_have_no_number_that_json_lacks() -> None:
    assert (
        versioned_json("s", 3, {"a": 1.5}) == '{\n  "schema": "s",\n  "schema_version": 3,\n  "a": 1.5\n}\n'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        versioned_json("s", 1, {"a": math.inf})


def test_every_schema_is_one_and_the_docs_list_it() -> None:
    docs = "".join(path.read_text(encoding="utf-8") for path in SCHEMAS.parent.glob("*.md"))
    for path in SCHEMAS.iterdir():
        schema = json.loads(path.read_text(encoding="utf-8"))
        version = schema["properties"]["schema_version"]["const"]
        assert schema["title"].endswith(f", schema version {version}"), path.name
        assert f"(schemas/{path.name})" in docs, path.name


def test_a_reader_sees_the_numbers() -> None:
    agreement = Agreement(("x", "y"), DIFFERENCE)
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
