"""Whole models as quantized ONNX: onnxruntime gives the executor's bytes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import flexc
from flexc.exporter.quantized.export import quantized_model
from tests.end_to_end.classifier import compiled, images
from tests.end_to_end.light_models import light_model
from tests.end_to_end.model_inputs import inputs_of
from tests.end_to_end.model_zoo import REDUCED, MakeModel
from tests.onnx_functions import run_model, same_bytes
from tests.onnx_models import save

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [{"policy": "FB12"}, {"policy": "FB16"}, {"batchnorm": "fp32"}])
def test_the_classifier(options: dict[str, str]) -> None:
    program = compiled(2, **options)
    found = quantized_model(program.graph)
    assert found.inexact == {}
    inputs = {"x": images(2)}
    outputs = run_model(found.model, inputs)
    for name, value in program.run(inputs).items():
        assert same_bytes(outputs[name], value), name


MODELS = {**REDUCED, "squeezenet": partial(light_model, "squeezenet")}


@pytest.mark.parametrize("policy", ["FB12", "FB16"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_models(make: MakeModel, policy: str, tmp_path: Path) -> None:
    model = make()
    program = flexc.compile(save(model, tmp_path), policy=policy)
    found = quantized_model(program.graph)
    # Quantization hides what onnxruntime's gelu has different in its last bits.
    assert set(found.inexact) <= {"nn.gelu"}
    inputs = inputs_of(model)
    outputs = run_model(found.model, inputs)
    for output, value in program.run(inputs).items():
        assert same_bytes(outputs[output], value), output
