"""The comparisons that come with the package: their manifests, and models without weights."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from flexc.analysis.comparison.manifest import ZOO, load_manifest, manifest_names
from flexc.analysis.comparison.run import compare
from flexc.analysis.comparison.text import tables
from flexc.options import BatchNorm
from flexc.precision.loading import catalog_names as policy_names
from flexc.target import catalog_names as target_names
from flexc.target.load_baseline import baseline_names
from models.weightless import NOWHERE, makers, weightless


@pytest.mark.parametrize("name", manifest_names())
def test_manifests_name_what_exists(name: str) -> None:
    manifest = load_manifest(name)
    assert set(manifest.models) <= {path.stem for path in ZOO.glob("*.onnx")}
    assert set(manifest.options.targets) <= {*target_names(), *baseline_names()}
    assert set(manifest.options.policies) <= set(policy_names())
    assert manifest.options.train


def test_the_zoo_is_that_of_the_builders() -> None:
    assert {path.stem for path in ZOO.glob("*.onnx")} == set(makers())


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2-cifar", *(pytest.param(one, marks=pytest.mark.slow) for one in sorted(makers()))],
)
def test_files_are_what_the_builders_make(name: str) -> None:
    made = weightless(makers()[name]())
    assert (ZOO / f"{name}.onnx").read_bytes() == made.SerializeToString()


def test_no_weights_are_kept() -> None:
    for path in ZOO.glob("*.onnx"):
        for tensor in onnx.load(path, load_external_data=False).graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                assert {entry.key: entry.value for entry in tensor.external_data} == {"location": NOWHERE}
        assert path.stat().st_size < 100_000


def test_a_manifest_runs() -> None:
    manifest = load_manifest("lightnorm")
    small = replace(manifest, models=("mobilenet_v1-cifar",))
    found = compare(small.loads(), small.options)
    fp32, lightnorm = found.machines
    assert (fp32.batchnorm, lightnorm.batchnorm) == (BatchNorm.FP32, BatchNorm.LIGHTNORM)
    assert lightnorm.phase("batch norm").cycles < fp32.phase("batch norm").cycles
    assert lightnorm.cycles < fp32.cycles
    assert any("LightNorm" in table.title for table in tables(found))
