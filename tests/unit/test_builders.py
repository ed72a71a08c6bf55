"""What the builders' command lines write: an open batch, the same network for any batch."""

from __future__ import annotations

from pathlib import Path

import click
import onnx
import pytest
from click.testing import CliRunner

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import rebuilding_pipeline
from models.make_densenet import main as densenet
from models.make_mobilenet import main as mobilenet
from models.make_resnet import main as resnet
from models.make_transformer import main as transformer
from models.make_vgg import main as vgg

CIFAR = ["--size", "32", "--classes", "10"]
BUILDERS = {
    "resnet18": (resnet, ["resnet18", *CIFAR]),
    "mobilenet_v1": (mobilenet, ["mobilenet_v1", *CIFAR]),
    "mobilenet_v2": (mobilenet, ["mobilenet_v2", *CIFAR]),
    "densenet121": (densenet, CIFAR),
    "vgg16": (vgg, CIFAR),
    "transformer": (transformer, ["transformer"]),
    "bert": (transformer, ["bert"]),
    "seq2seq": (transformer, ["seq2seq"]),
}
BATCH = 3


def imported(path: Path, batch: int | None) -> str:
    """The IR of a model after canonicalization; weights are left out, but for their names."""
    graph = load_model(path, batch=batch, weights=False)
    run_pipeline(graph, rebuilding_pipeline())
    return str(graph.module)


@pytest.mark.parametrize("name", BUILDERS)
def test_an_open_batch_becomes_any(name: str, tmp_path: Path) -> None:
    command, arguments = BUILDERS[name]
    build(command, [*arguments, "-o", str(tmp_path / "open.onnx")])
    build(command, [*arguments, "-o", str(tmp_path / "fixed.onnx"), "--batch", str(BATCH)])
    for value in onnx.load(tmp_path / "open.onnx").graph.input:
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert imported(tmp_path / "open.onnx", BATCH) == imported(tmp_path / "fixed.onnx", None)
    with pytest.raises(CompileError, match="dynamic dimensions") as failure:
        imported(tmp_path / "open.onnx", None)
    assert "--batch N" in failure.value.diagnostics[0].hint


def build(command: click.Command, arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
