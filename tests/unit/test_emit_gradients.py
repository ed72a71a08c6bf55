"""Gradients of convolutions as instructions: the stream gives the bytes of the kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flexc.ir.program import Graph
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import machine_pipeline
from tests.gradient_graphs import (
    Convolution,
    fp32_gradient_graph,
    local_grad_graph,
    spread,
    weight_grad_graph,
)
from tests.stream_agreement import Agreement, compare_with_stream

CONVOLUTIONS = {
    "plain": Convolution((3, 10, 7, 6), (8, 10, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "one pixel in four": Convolution((2, 8, 7, 7), (5, 8, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    "uneven phases": Convolution((2, 6, 8, 5), (7, 6, 3, 2), (3, 2), (1, 0, 2, 1), (1, 1)),
    "stride and dilation": Convolution((3, 4, 5, 5), (8, 4, 3, 3), (3, 2), (1, 2, 1, 1), (2, 2)),
    "one row, and padding below": Convolution((16, 22, 5), (3, 22, 3), (3,), (1, 1), (2,)),
    "groups": Convolution((3, 12, 5, 6), (18, 4, 3, 1), (2, 1), (1, 0, 1, 0), (1, 1), 3),
    "depthwise": Convolution((3, 9, 6, 6), (9, 1, 3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 9),
    "several filters a channel": Convolution((2, 4, 6, 6), (8, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "one channel": Convolution((3, 1, 6, 6), (5, 1, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
    "one image": Convolution((1, 6, 5, 5), (4, 6, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
}
GRAPHS: dict[str, Callable[[Convolution, tuple[int, int], int], Graph]] = {
    "g w": local_grad_graph,
    "g x": weight_grad_graph,
}


def check(names: str, conv: Convolution, bits: tuple[int, int], target: str = "flexblock") -> Agreement:
    graph = GRAPHS[names](conv, bits, 4)
    run_pipeline(graph, machine_pipeline(target), verify_each=True)
    shapes = {"g": conv.y, "w": conv.w, "x": conv.x}
    rng = np.random.default_rng(3)
    inputs = {name: spread(rng, shapes[name]) for name in names.split()}
    return compare_with_stream(graph, inputs, target)


@pytest.mark.parametrize("bits", [(4, 4), (8, 8), (16, 16), (4, 16)], ids=str)
@pytest.mark.parametrize("names", GRAPHS)
@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
def test_gradients_have_equal_bytes(conv: Convolution, names: str, bits: tuple[int, int]) -> None:
    found = check(names, conv, bits)
    out = found.simulation.outputs["out"]
    assert np.isfinite(out).all()
    assert np.unique(out).size > 8


def test_what_no_tap_reaches_is_zero() -> None:
    conv = CONVOLUTIONS["one pixel in four"]
    out = check("g w", conv, (8, 8)).simulation.outputs["out"]
    reached = np.zeros(conv.x[2:], bool)
    reached[::2, ::2] = True
    assert (out[..., ~reached].view(np.int32) == 0).all()
    assert (out[..., reached] != 0).any()


LARGE = {
    "image of many tiles": Convolution((2, 5, 60, 61), (7, 5, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "strided image of many tiles": Convolution((2, 5, 60, 61), (7, 5, 3, 3), (2, 2), (1, 0, 1, 1), (1, 1)),
    "channels of many tiles": Convolution((2, 300, 5, 5), (200, 300, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
}


@pytest.mark.parametrize("which", ["local", "weight"])
@pytest.mark.parametrize("conv", [*CONVOLUTIONS.values(), *LARGE.values()], ids=[*CONVOLUTIONS, *LARGE])
def test_gradients_left_in_fp32(conv: Convolution, which: str) -> None:
    """Of small integers every order of sums gives the same bytes."""
    graph = fp32_gradient_graph(conv, which)
    run_pipeline(graph, machine_pipeline("flexblock"), verify_each=True)
    shapes = {"g": conv.y, "w": conv.w, "x": conv.x}
    rng = np.random.default_rng(3)
    inputs = {
        name: rng.integers(-8, 9, shapes[name]).astype(np.float32)
        for name in ("g", "w" if which == "local" else "x")
    }
    out = compare_with_stream(graph, inputs, "flexblock").simulation.outputs["out"]
    assert np.unique(out).size > 8
