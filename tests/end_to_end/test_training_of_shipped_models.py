"""A training step of each shipped model to train: executor and stream agree in every byte of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import flexc
from flexc.options import TrainingOptions
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet
from models.make_transformer import make_bert, make_seq2seq, make_transformer

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Shipped:
    """A model, the batch for one that leaves it open, options of its training step."""

    make: Callable[[], onnx.ModelProto]
    batch: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


MODELS = {
    "resnet": Shipped(make_small_resnet, batch=4),
    "mobilenet": Shipped(make_small_mobilenet, batch=4),
    # With dropouts.
    "seq2seq": Shipped(make_seq2seq, batch=4),
    "transformer": Shipped(
        lambda: make_transformer(batch=2, source_length=6, target_length=5, width=32, heads=4, hidden=64),
        training={"loss": "mean-squared-error"},
    ),
    "bert": Shipped(
        lambda: make_bert(batch=3, length=6, layers=1, width=32, vocabulary=20),
        training={"optimizer": "adam"},
    ),
}
QUICK = {(name, "FB12LG16WG16") for name in ("resnet", "mobilenet", "transformer")}
FEWEST_CLASSES = 2
"""BERT's: labels below it are classes of every model."""


def inputs_of(program: flexc.Program) -> dict[str, Array]:
    """The first weights and state, and a batch of noise."""
    rng = np.random.default_rng(0)
    given: dict[str, Array] = {
        "learning_rate": np.asarray(0.05, np.float32),
        "step": np.asarray(1, np.int64),
        **program.first_state,
    }
    for spec in program.inputs:
        if spec.dtype == "float32":
            made: Array = rng.standard_normal(spec.shape).astype(np.float32)
        else:
            made = rng.integers(0, FEWEST_CLASSES, spec.shape)
        given.setdefault(spec.name, made)
    return given


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param(name, policy, marks=[] if (name, policy) in QUICK else pytest.mark.slow)
        for name in MODELS
        for policy in ("FB12", "FB16", "FB24", "FB12LG16WG16")
    ],
)
def test_every_updated_weight_has_equal_bytes(name: str, policy: str, tmp_path: Path) -> None:
    shipped = MODELS[name]
    onnx.save(shipped.make(), tmp_path / "model.onnx")
    program = flexc.compile(
        tmp_path / "model.onnx",
        batch=shipped.batch,
        policy=policy,
        everywhere=True,
        training=TrainingOptions(**shipped.training),
    )
    inputs = inputs_of(program)
    agreement = program.run_engine(inputs, "both").agreement
    assert agreement is not None
    assert agreement.exact
    assert agreement.difference is None
    assert set(program.carried) <= set(agreement.compared)
    results = program.run(inputs)
    for weight in program.carried:
        assert results[weight].tobytes() != inputs[weight].tobytes(), weight
