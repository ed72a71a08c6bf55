"""Random networks on a machine with small buffers: the stream gives the bytes of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flexc.api import compile as compile_model
from flexc.diagnostics import CompileError
from flexc.options import CompileOptions, TrainingOptions
from tests.onnx_models import build, make_node, save
from tests.stream_agreement import check_agreement, compare_with_stream, compile_graph

pytestmark = pytest.mark.slow

Array: TypeAlias = npt.NDArray[Any]
EXAMPLES = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DEPTHWISE = 0
NOT_ON_THE_MACHINE = ("FX413", "FX428")
"""Not even the smallest tile fits a buffer; conv groups that start inside a byte."""
NOT_TRAINED_ON_THE_MACHINE = (*NOT_ON_THE_MACHINE, "FX346", "FX430")
"""Nor batches too small for LightNorm's chunks, nor a LightNorm whose gradient is that of a reshape."""
CATALOG = Path(__file__).parents[2] / "flexc" / "target" / "catalog"
SMALL = {
    "cores = 16": "cores = 3",
    "operand_buffer_bytes = 32_768": "operand_buffer_bytes = 8_192",
    "psum_buffer_bytes = 32_768": "psum_buffer_bytes = 3_072",
}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The default machine, and one of three cores with so little memory that most loops are cut."""
    text = (CATALOG / "flexblock.toml").read_text()
    for given_text, smaller in SMALL.items():
        assert given_text in text
        text = text.replace(given_text, smaller)
    path = tmp_path_factory.mktemp("targets") / "small.toml"
    path.write_text(text)
    return ["flexblock", str(path)]


def spread(rng: np.random.Generator, *shape: int) -> Array:
    """fp32 numbers with exponents up to 24 apart."""
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 13, shape))).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """A convolution, then perhaps a batch normalization, an activation and a pool.

    It has the largest number of groups that divides both ``groups`` and the channels, or is depthwise.
    """

    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    norm: bool
    activation: str
    pool: bool


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
layers = st.builds(
    Layer,
    outputs=st.sampled_from([1, 3, 8, 22, 60, 150]),
    kernel=pairs,
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 1, 2, 3, 5, DEPTHWISE]),
    norm=st.booleans(),
    activation=st.sampled_from(["", "Relu", "HardSwish", "Sigmoid"]),
    pool=st.booleans(),
)
modes = st.sampled_from(["FB12", "FB16", "FB24"])
seeds = st.integers(0, 2**16)


@dataclass(frozen=True)
class Case:
    """Layers, the images they take, the mode and machine they are compiled for, and a seed of values."""

    network: list[Layer]
    channels: int
    batch: int
    size: tuple[int, int]
    mode: str
    small: bool
    seed: int


def cases(
    most_layers: int, channels: list[int], batches: list[int], extents: st.SearchStrategy[int]
) -> st.SearchStrategy[Case]:
    """Cases of up to ``most_layers`` layers on images of these channels, batches and extents."""
    return st.builds(
        Case,
        network=st.lists(layers, min_size=1, max_size=most_layers),
        channels=st.sampled_from(channels),
        batch=st.sampled_from(batches),
        size=st.tuples(extents, extents),
        mode=modes,
        small=st.booleans(),
        seed=seeds,
    )


@dataclass(frozen=True)
class Network:
    """Layers one behind the other: the value behind each, and the channels and extents of the last."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, Array]
    values: list[str]
    channels: int
    extents: list[int]


def layered(rng: np.random.Generator, case: Case) -> Network | None:
    """The layers behind the value ``x``; None where nothing is left of the image."""
    nodes, constants, values, value = [], {}, [], "x"
    channels, extents = case.channels, list(case.size)
    for index, layer in enumerate(case.network):
        group = channels if layer.groups == DEPTHWISE else gcd(channels, layer.groups)
        made = -(-layer.outputs // group) * group
        extents = [
            (extents[d] + layer.pads[d] + layer.pads[d + 2] - layer.dilation[d] * (layer.kernel[d] - 1) - 1)
            // layer.stride[d]
            + 1
            for d in range(2)
        ]
        if min(extents) < 1:
            return None
        constants[f"w{index}"] = spread(rng, made, channels // group, *layer.kernel)
        attributes = {
            "strides": layer.stride,
            "pads": layer.pads,
            "dilations": layer.dilation,
            "group": group,
        }
        nodes.append(make_node("Conv", [value, f"w{index}"], [f"c{index}"], **attributes))
        value, channels = f"c{index}", made
        if layer.norm:
            names = [f"{name}{index}" for name in "gbmv"]
            constants.update({name: spread(rng, made) for name in names[:3]})
            constants[names[3]] = np.abs(spread(rng, made)) + np.float32(0.1)
            nodes.append(make_node("BatchNormalization", [value, *names], [f"n{index}"]))
            value = f"n{index}"
        if layer.activation:
            nodes.append(make_node(layer.activation, [value], [f"a{index}"]))
            value = f"a{index}"
        if layer.pool and min(extents) > 1:
            nodes.append(make_node("MaxPool", [value], [f"p{index}"], kernel_shape=[2, 2], strides=[1, 2]))
            value, extents = f"p{index}", [extents[0] - 1, extents[1] // 2]
        values.append(value)
    return Network(nodes, constants, values, channels, extents)


@given(
    data=st.data(),
    case=cases(3, [1, 3, 10, 15, 57, 120, 250], batches=[1, 2, 3], extents=st.integers(9, 17)),
)
@EXAMPLES
def test_networks(data: st.DataObject, case: Case, targets: list[str], tmp_path: Path) -> None:
    rng, target = np.random.default_rng(case.seed), targets[case.small]
    x = spread(rng, case.batch, case.channels, *case.size)
    found = layered(rng, case)
    if found is None:
        return
    kept = [value for value in found.values if data.draw(st.booleans(), label="keep")]
    outputs = list(dict.fromkeys([*kept, found.values[-1]]))
    model = build(found.nodes, {"x": x}, found.constants, outputs=outputs)
    try:
        graph = compile_graph(model, tmp_path, CompileOptions(policy=case.mode, target=target))
    except CompileError as failure:
        assume(failure.diagnostics[0].code not in NOT_ON_THE_MACHINE)
        raise
    compare_with_stream(graph, {"x": x}, target)


@given(
    batch=st.lists(st.integers(1, 3), max_size=2),
    sizes=st.tuples(st.integers(1, 40), st.sampled_from([1, 7, 54, 130, 300]), st.integers(1, 40)),
    shared=st.booleans(),
    again=st.booleans(),
    mode=modes,
    small=st.booleans(),
    seed=seeds,
)
@EXAMPLES
def test_products(
    batch: list[int],
    sizes: tuple[int, int, int],
    shared: bool,
    again: bool,
    mode: str,
    small: bool,
    seed: int,
    targets: list[str],
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(seed)
    rows, depth, columns = sizes
    inputs = {
        "a": spread(rng, *batch, rows, depth),
        "b": spread(rng, *([] if shared else batch), depth, columns),
    }
    nodes = [make_node("MatMul", ["a", "b"], ["p"]), make_node("Softmax", ["p"], ["y"], axis=-1)]
    if again:
        rank = len(batch) + 2
        turned = [*range(rank - 2), rank - 1, rank - 2]
        nodes += [
            make_node("Transpose", ["y"], ["t"], perm=turned),
            make_node("MatMul", ["y", "t"], ["z"]),
        ]
    model = build(nodes, inputs, outputs=("z",) if again else ("y",))
    check_agreement(model, inputs, tmp_path, CompileOptions(policy=mode, target=targets[small]))


@given(
    case=cases(2, [1, 2, 3, 10, 30], batches=[1, 2, 4], extents=st.integers(5, 9)),
    rounding=st.sampled_from([None, "truncate", "stochastic"]),
)
@EXAMPLES
def test_training_steps(case: Case, rounding: str | None, targets: list[str], tmp_path: Path) -> None:
    rng, target = np.random.default_rng(case.seed), targets[case.small]
    found = layered(rng, case)
    if found is None:
        return
    x = rng.standard_normal((case.batch, case.channels, *case.size)).astype(np.float32)
    head = [make_node("Flatten", [found.values[-1]], ["f"]), make_node("Gemm", ["f", "w", "b"], ["y"])]
    features = found.channels * found.extents[0] * found.extents[1]
    constants = {**found.constants, "w": spread(rng, features, 5), "b": spread(rng, 5)}
    path = save(build([*found.nodes, *head], {"x": x}, constants), tmp_path)
    try:
        program = compile_model(
            path, policy=case.mode, rounding=rounding, target=target, training=TrainingOptions()
        )
    except CompileError as failure:
        assume(failure.diagnostics[0].code not in NOT_TRAINED_ON_THE_MACHINE)
        raise
    fed: dict[str, Array] = {
        "x": x,
        "labels": rng.integers(0, 5, case.batch),
        "learning_rate": np.asarray(0.1, np.float32),
        "step": np.asarray(3),
    }
    compare_with_stream(program.graph, {**program.first_state, **fed}, target)
