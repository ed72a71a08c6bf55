"""The closed form of a comparison against the timing simulation of the stream, on models that are built here.

MACs, bytes to and from DRAM, executed instructions and energies are equal; cycles differ by less than 5 %. So
does the energy of vector and LightNorm unit in training steps, where the closed form leaves out what is done
once a channel. That is a check of consistency (docs/accuracy.md): both draw on the same rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

import flexc
from flexc.analysis.comparison.machines import FlexBlockMachine
from flexc.analysis.comparison.model_cost import model_cost
from flexc.analysis.comparison.models import load_compared_model
from flexc.api import TrainingOptions
from flexc.options import BatchNorm
from flexc.target import load_target
from models.make_densenet import make_densenet121
from models.make_mobilenet import make_mobilenet_v1, make_mobilenet_v2
from models.make_resnet import make_resnet
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet
from models.make_transformer import make_bert, make_seq2seq, make_transformer
from models.make_vgg import make_vgg16

CYCLES = 0.05
ENERGY_OF_NORMS = 0.05
CIFAR: dict[str, Any] = {"size": 32, "classes": 10}
SMALL_BATCH = 16
"""Of models that leave the batch open."""


@dataclass(frozen=True)
class Case:
    """A model, and what is quick enough for every run of the tests."""

    make: Callable[[], onnx.ModelProto]
    batch: int | None = None
    quick: tuple[str, ...] = ()


MODELS: dict[str, Case] = {
    "small_resnet": Case(make_small_resnet, SMALL_BATCH, ("inference FB12", "training step FB12")),
    "small_mobilenet": Case(make_small_mobilenet, SMALL_BATCH, ("inference FB24", "training step FB24")),
    "resnet18-cifar": Case(
        partial(make_resnet, "resnet18", batch=8, **CIFAR), None, ("inference FB16", "training step FB12")
    ),
    "resnet50-cifar": Case(partial(make_resnet, "resnet50", batch=4, **CIFAR)),
    "mobilenet_v1-cifar": Case(partial(make_mobilenet_v1, batch=4, **CIFAR), None, ("inference FB24",)),
    "mobilenet_v2-cifar": Case(partial(make_mobilenet_v2, batch=4, **CIFAR), None, ("inference FB12",)),
    "vgg16-cifar": Case(partial(make_vgg16, batch=4, **CIFAR)),
    "densenet121-cifar": Case(partial(make_densenet121, batch=2, **CIFAR)),
    "transformer": Case(partial(make_transformer, batch=2)),
    "bert": Case(make_bert, None, ("inference FB12",)),
    "seq2seq": Case(make_seq2seq, 2, ("training step FB16",)),
    "resnet18-imagenet": Case(partial(make_resnet, "resnet18")),
    "resnet50-imagenet": Case(partial(make_resnet, "resnet50")),
    "mobilenet_v1-imagenet": Case(make_mobilenet_v1),
    "mobilenet_v2-imagenet": Case(make_mobilenet_v2),
    "vgg16-imagenet": Case(make_vgg16),
    "densenet121-imagenet": Case(make_densenet121),
}
STEPS = {"inference": None, "training step": TrainingOptions()}
POLICIES = ("FB12", "FB16", "FB24")


def cases() -> list[Any]:
    """Every model, step and policy."""
    return [
        pytest.param(
            name, step, policy, marks=() if f"{step} {policy}" in case.quick else (pytest.mark.slow,)
        )
        for name, case in MODELS.items()
        for step in STEPS
        for policy in POLICIES
    ]


@pytest.mark.parametrize(("name", "step", "policy"), cases())
def test_the_closed_form_is_what_the_stream_does(name: str, step: str, policy: str, tmp_path: Path) -> None:
    case, training = MODELS[name], STEPS[step]
    path = tmp_path / "model.onnx"
    onnx.save(case.make(), path)
    schedule = flexc.compile(path, policy=policy, batch=case.batch, training=training).schedule
    model = load_compared_model(path, train=training is not None, batch=case.batch)
    workload = model.workload(policy, BatchNorm.LIGHTNORM)
    found = model_cost(workload, FlexBlockMachine(load_target("flexblock"))).total
    assert workload.macs == schedule.macs
    assert found.dram_bytes == schedule.read_bytes + schedule.written_bytes
    assert found.instructions == schedule.instructions
    assert found.cycles == pytest.approx(schedule.cycles, rel=CYCLES)
    energy, simulated = found.energy.by_component(), schedule.energy_by_component_pj.by_component()
    for component, part in simulated.items():
        norms = step == "training step" and component in ("vector", "lightnorm")
        assert energy[component] <= part * (1 + 1e-9), component
        assert energy[component] == pytest.approx(part, rel=ENERGY_OF_NORMS if norms else 1e-9), component
