"""Programs with fp32 contractions: another order of sums passes, one corrupt value in the stream does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import flexc
from flexc.backends.executor.run import Kept
from flexc.backends.follow import follow_both
from flexc.backends.stream.simulate import simulate
from flexc.options import TrainingOptions
from models.make_small_resnet import make_small_resnet

Array: TypeAlias = npt.NDArray[Any]
MIXED = """
name = "mixed"
description = "the first and the last layer in fp32"
[default]
format = "FB12"
[[override]]
first = true
format = "fp32"
[[override]]
last = true
format = "fp32"
"""


@dataclass(frozen=True)
class Runs:
    """A training step on both engines: intermediates and outputs."""

    program: flexc.Program
    inputs: dict[str, Array]
    executor: tuple[dict[str, Array], dict[str, Array]]
    stream: tuple[dict[str, Array], dict[str, Array]]

    def agreement(self, **changed: Array) -> Any:
        """With some of the stream's intermediates in another state."""
        stream = ({**self.stream[0], **changed}, self.stream[1])
        return follow_both(self.program.graph, self.inputs, self.executor, stream)


@pytest.fixture(scope="module", params=["fp32", "mixed"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("follow")
    onnx.save(make_small_resnet(), folder / "model.onnx")
    policy = folder / "mixed.toml"
    policy.write_text(MIXED)
    program = flexc.compile(
        folder / "model.onnx",
        batch=2,
        policy="fp32" if request.param == "fp32" else str(policy),
        training=TrainingOptions(),
    )
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {
        "learning_rate": np.asarray(0.05, np.float32),
        "step": np.asarray(1, np.int64),
        **program.first_state,
    }
    for spec in program.inputs:
        made: Array = rng.standard_normal(spec.shape).astype(np.float32)
        inputs.setdefault(spec.name, made if spec.dtype == "float32" else np.zeros(spec.shape, spec.dtype))
    kept = Kept()
    outputs = program.run(inputs, keep=kept)
    simulation = simulate(program.stream, inputs, tensors=True)
    return Runs(program, inputs, (kept.arrays, outputs), (simulation.tensors, simulation.outputs))


def test_both_engines_agree_and_every_tensor_is_counted(runs: Runs) -> None:
    found = runs.agreement()
    assert found.difference is None
    assert found.compared
    assert found.bounded
    counted = {*found.compared, *found.bounded, *found.uncompared}
    assert counted == {*(runs.executor[0].keys() & runs.stream[0].keys()), *runs.stream[1]}


def corrupt(array: Array) -> Array:
    """The largest element off by one, or a thousandth of an fp32 one."""
    changed = np.array(array, order="C")
    flat = changed.reshape(-1)
    largest = int(np.abs(flat.astype(np.float64)).argmax())
    flat[largest] = flat[largest] * np.float32(1.001) if changed.dtype == np.float32 else flat[largest] ^ 1
    return changed


@pytest.mark.parametrize("kind", ["i", "u", "f"])
def test_one_corrupt_value_is_found(runs: Runs, kind: str) -> None:
    found = runs.agreement()
    names = [
        name
        for name in (*found.compared, *found.bounded)
        if name in runs.stream[0] and runs.stream[0][name].dtype.kind == kind and runs.stream[0][name].any()
    ]
    assert names or (kind != "f" and runs.program.options.policy == "fp32")
    for name in names[:: max(1, len(names) // 4)]:
        difference = runs.agreement(**{name: corrupt(runs.stream[0][name])}).difference
        assert difference is not None, name
        assert difference.tensor == name


@pytest.mark.parametrize("change", [corrupt, np.negative])
def test_a_corrupt_executor_is_found_too(runs: Runs, change: Callable[[Array], Array]) -> None:
    name = next(name for name in runs.agreement().bounded if name in runs.executor[0])
    executor = ({**runs.executor[0], name: change(runs.executor[0][name])}, runs.executor[1])
    found = follow_both(runs.program.graph, runs.inputs, executor, runs.stream)
    assert found.difference is not None
    assert found.difference.tensor == name
