"""Imports point one way: from the command line down to the numerics (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            *("diagnostics", "numerics", "tensor_spec", "options"),
            *("array_files", "disk_cache", "figure_file", "output_file", "versioned_json"),
        }
    ),
    frozenset({"ir"}),
    frozenset({"importer", "precision", "target", "mapping", "cost", "datasets"}),
    frozenset({"passes"}),
    frozenset({"backends"}),
    frozenset({"artefact", "api", "program", "schedule", "scheduling", "dram_use", "group_energy"}),
    frozenset({"analysis", "exporter", "training"}),
    frozenset({"cli"}),
)
SAME_LAYER = {
    ("mapping", "target"),
    ("mapping", "cost"),
    ("cost", "mapping"),
    ("cost", "target"),
    ("api", "artefact"),
    ("api", "program"),
    ("program", "artefact"),
    ("program", "schedule"),
    ("program", "scheduling"),
    ("scheduling", "schedule"),
    ("scheduling", "dram_use"),
    ("scheduling", "group_energy"),
    ("dram_use", "schedule"),
    ("analysis", "training"),
    ("tensor_spec", "diagnostics"),
    ("array_files", "diagnostics"),
    ("array_files", "output_file"),
    ("disk_cache", "diagnostics"),
    ("disk_cache", "output_file"),
    ("output_file", "diagnostics"),
    ("figure_file", "diagnostics"),
    ("figure_file", "output_file"),
    ("numerics", "diagnostics"),
}
"""Pairs (importer, imported) of one layer that may meet."""

ONNX_PACKAGES = {"importer", "exporter"}
"""The packages that may import onnx."""


def _sources() -> list[tuple[str, Path]]:
    found = []
    for folder, prefix in (("flexc", ""), ("passes", "passes"), ("backends", "backends")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).parts
            if not prefix and parts[0] in ("passes", "backends"):
                continue
            found.append((prefix or parts[0].removesuffix(".py"), path))
    return found


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _layer(package: str) -> int:
    for index, layer in enumerate(LAYERS):
        if package in layer:
            return index
    raise AssertionError(f"flexc.{package} is in no layer: add it to LAYERS and to docs/architecture.md")


@pytest.mark.parametrize(
    ("package", "path"), _sources(), ids=lambda value: str(value).removeprefix(str(ROOT))
)
def test_imports_point_down(package: str, path: Path) -> None:
    if package == "__init__":
        return
    for name in _imports(path):
        if not name.startswith("flexc."):
            continue
        imported = name.split(".")[1]
        if imported in (package, "__version__"):
            continue
        below = _layer(imported) < _layer(package)
        assert below or (package, imported) in SAME_LAYER, f"flexc.{package} imports {name}"


@pytest.mark.parametrize(
    ("package", "path"), _sources(), ids=lambda value: str(value).removeprefix(str(ROOT))
)
def test_onnx_stays_at_the_border(package: str, path: Path) -> None:
    if package in ONNX_PACKAGES:
        return
    assert not [name for name in _imports(path) if name.split(".")[0] == "onnx"]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("flexc", {"numpy", "xdsl", "onnx", "onnxruntime", "click", "rich"}),
        (
            "flexc.numerics",
            {"numba", "llvmlite", "xdsl", "onnx", "onnxruntime", "click", "rich", "networkx", "safetensors"},
        ),
        ("flexc.cli", {"xdsl", "onnx", "onnxruntime", "networkx"}),
        (
            "flexc.backends.stream.simulate",
            {"xdsl", "onnx", "onnxruntime", "flexc.ir", "flexc.passes", "flexc.backends.executor"},
        ),
    ],
)
def test_what_an_import_pulls_in(module: str, forbidden: set[str]) -> None:
    script = f"import sys, {module}; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    names = set(loaded.split())
    assert not names & forbidden
