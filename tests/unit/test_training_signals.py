"""The tensors that dynamic precision follows: operands, or the signals of the published emulator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import flexc
from flexc.ir import bfp
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.numerics import zero_setting_error
from flexc.options import TrainingOptions
from flexc.precision.policy import Operand, TrainingPass
from flexc.training.signals import Signal, signals_of
from flexc.training.zero_setting import ContractionPoint, ErrorProbe, quantized_operands
from tests.training_models import small_mobilenet, small_resnet, small_transformer

Points = dict[ContractionPoint, list[Operand]]


def step_of(model: onnx.ModelProto, folder: Path, **options: Any) -> flexc.Program:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return flexc.compile(path, policy="FB12", everywhere=True, training=TrainingOptions(), **options)


def points_of(graph: Graph, signal: Signal) -> Points:
    found: Points = defaultdict(list)
    for one in signals_of(graph, signal):
        for point, operand in one.uses:
            found[point].append(operand)
    return found


def contractions(graph: Graph) -> set[ContractionPoint]:
    roles = [role for op in graph.main.body.block.ops if (role := role_of(op)) is not None]
    return {ContractionPoint(one.layer.data, TrainingPass(one.training_pass.data)) for one in roles}


@pytest.mark.parametrize("profile", ["flexblock", "bfpsim"])
@pytest.mark.parametrize("make", [small_resnet, small_mobilenet, small_transformer])
def test_every_contraction_has_its_signals(
    make: Callable[[], onnx.ModelProto], profile: str, tmp_path: Path
) -> None:
    graph = step_of(make(), tmp_path, profile=profile).graph
    assert signals_of(graph, Signal.OPERANDS) == quantized_operands(graph)
    assert set(points_of(graph, Signal.OPERANDS)) == contractions(graph)
    emulator = points_of(graph, Signal.EMULATOR)
    assert set(emulator) == contractions(graph)
    for point, operands in emulator.items():
        if point.layer in ("scores", "mix"):
            assert set(operands) == (
                {Operand.ACTIVATION} if point.training_pass is TrainingPass.FORWARD else {Operand.RESULT}
            )
        elif point.training_pass is TrainingPass.FORWARD:
            assert operands == [Operand.WEIGHT]
        else:
            assert operands == [Operand.RESULT]


def test_the_emulators_signals_are_measured_on_the_gradients(tmp_path: Path) -> None:
    program = step_of(small_resnet(), tmp_path)
    kept: dict[str, Any] = {}
    (weight_gradient,) = (
        one
        for one in signals_of(program.graph, Signal.EMULATOR)
        if one.uses == ((ContractionPoint("b.2.conv", TrainingPass.WEIGHT_GRAD), Operand.RESULT),)
    )
    probe = ErrorProbe([weight_gradient], narrower=True, count_zeros=True)

    def keep(**values: Any) -> None:
        kept.update(values)
        probe(**values)

    rng = np.random.default_rng(0)
    given = {
        **program.first_state,
        "input": rng.standard_normal((6, 3, 12, 12)).astype(np.float32),
        "labels": np.arange(6) % 5,
        "learning_rate": np.asarray(0.1, np.float32),
        "step": np.asarray(1),
    }
    program.run(given, keep=keep)
    gradient = kept[weight_gradient.variable]
    assert gradient.shape == (8, 8, 3, 3)
    (measured,) = probe.measured
    expected = zero_setting_error(gradient, mantissa_bits=4, tile=(1, 216, 1, 1), count_zeros=True)
    assert (measured.error, measured.narrower) == (expected, None)
    assert 0 < measured.error < 1


def test_results_that_are_stored_are_no_operands(tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text('name = "p"\ndescription = "d"\n[default]\nformat = "FB12"\nresult.format = "FB16"\n')
    path = tmp_path / "m.onnx"
    path.write_bytes(small_resnet().SerializeToString())
    graph = flexc.compile(path, policy=str(policy), training=TrainingOptions()).graph
    nodes = [op for op in graph.main.body.block.ops if isinstance(op, bfp.QuantizeOp)]
    stored = [op for op in nodes if bfp.OF_RESULT in op.attributes]
    assert len(quantized_operands(graph)) == len(nodes) - len(stored) < len(nodes)
    assert all(one.uses for one in quantized_operands(graph))
