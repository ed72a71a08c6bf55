"""Masks of dropouts drawn by a quantization: the bits of the mask's own kernel, on the machine too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexc import numerics
from flexc.ir.program import Graph, parse_module
from flexc.passes.allocate import Allocate
from flexc.passes.expand_dropout import ExpandDropout
from flexc.passes.schedule import Schedule
from tests.evaluate import evaluate
from tests.stream_agreement import compare_with_stream


def graph_of(shape: tuple[int, ...], ratio: float, seed: int = 1, node: int = 4095) -> Graph:
    """``y = x * mask``, with the mask expanded."""
    tensor = f"tensor<{''.join(f'{extent}x' for extent in shape)}f32>"
    text = f"""
    func.func @main(%x: {tensor}, %s: tensor<i64>) -> {tensor}
        attributes {{inputs = ["x", "s"], outputs = ["y"]}} {{
      %m = train.dropout_mask %s {{ratio = {ratio!r} : f32, seed = {seed} : i64, node = {node} : i64}} :
        tensor<i64> -> {tensor}
      %y = nn.mul %x, %m : {tensor}, {tensor} -> {tensor}
      func.return %y : {tensor}
    }}
    """
    graph = Graph(parse_module(text))
    assert ExpandDropout().run(graph)
    assert not ExpandDropout().run(graph)
    graph.module.verify()
    assert "dropout" not in str(graph.module)
    return graph


@settings(deadline=None, max_examples=60)
@given(
    # In steps of a quarter of what the random bits tell apart.
    ratio=st.integers(0, 2**18 - 1).map(lambda quarters: quarters / 2**18),
    shape=st.sampled_from([(1,), (7,), (3, 5), (2, 3, 4, 5), (433,)]),
    step=st.integers(0, 2**20),
)
def test_bits_are_those_of_the_kernel(ratio: float, shape: tuple[int, ...], step: int) -> None:
    x, number = np.ones(shape, np.float32), np.asarray(step)
    found = evaluate(graph_of(shape, ratio), {"x": x, "s": number})["y"]
    expected = numerics.dropout_mask(number, shape=shape, ratio=ratio, seed=1, node=4095)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(5,), (7, 3), (2, 3, 5, 5), (2, 6, 4, 4)])
def test_the_machine_draws_the_same(shape: tuple[int, ...]) -> None:
    graph = graph_of(shape, 0.25, seed=9)
    for machine_pass in (Schedule(), Allocate()):
        machine_pass.run(graph)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    outputs = compare_with_stream(graph, {"x": x, "s": np.asarray(3)}, "flexblock").simulation.outputs
    mask = numerics.dropout_mask(np.asarray(3), shape=shape, ratio=0.25, seed=9, node=4095)
    assert outputs["y"].tobytes() == (x * mask).tobytes()
