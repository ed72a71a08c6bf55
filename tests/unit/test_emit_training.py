"""Training ops outside of contractions as instructions: the stream gives the bytes of the kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.diagnostics import CompileError
from flexc.ir.program import Graph, parse_module
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import machine_pipeline
from tests.gradient_graphs import spread, tensor_text
from tests.stream_agreement import Agreement, compare_with_stream

Array: TypeAlias = npt.NDArray[Any]
CATALOG = Path(__file__).parents[2] / "flexc" / "target" / "catalog"
SMALL = {
    "cores = 16": "cores = 1",
    "operand_buffer_bytes = 32_768": "operand_buffer_bytes = 4_096",
    "held_buffer_bytes = 32_768": "held_buffer_bytes = 4_096",
    "psum_buffer_bytes = 32_768": "psum_buffer_bytes = 4_096",
}


@pytest.fixture(params=["flexblock", "small"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The default machine, and a small one."""
    return "flexblock" if request.param == "flexblock" else small_target(tmp_path)


def small_target(folder: Path) -> str:
    """One core with so little memory that loops are cut."""
    text = (CATALOG / "flexblock.toml").read_text()
    for given, smaller in SMALL.items():
        assert given in text
        text = text.replace(given, smaller)
    path = folder / "small.toml"
    path.write_text(text)
    return str(path)


def check(arguments: dict[str, Array], body: str, results: dict[str, str], target: str) -> Agreement:
    """Runs ``body``, of which ``results`` names results and their types, on the machine."""
    elements = {"float32": "f32", "int64": "i64"}
    given = ", ".join(
        f"%{name}: {tensor_text(value.shape, elements[str(value.dtype)])}"
        for name, value in arguments.items()
    )
    inputs, outputs = (", ".join(f'"{name}"' for name in names) for names in (arguments, results))
    text = f"""func.func @main({given}) -> ({", ".join(results.values())}) attributes
  {{inputs = [{inputs}], outputs = [{outputs}]}} {{
  {body}
  func.return {", ".join(f"%{name}" for name in results)} : {", ".join(results.values())}
}}"""
    graph = Graph(parse_module(text))
    run_pipeline(graph, machine_pipeline(target), verify_each=True)
    return compare_with_stream(graph, arguments, target)


def random(*shape: int, seed: int = 0) -> Array:
    return spread(np.random.default_rng(seed), shape)


WINDOW = (
    "kernel = array<i64: 3, 2>, stride = array<i64: 2, 1>, pads = array<i64: 1, 0, 1, 1>, "
    "dilation = array<i64: 1, 2>, ceil_mode = 0 : i64"
)


def test_max_pool_gradient(target: str) -> None:
    """Few values, so that windows have ties, and the first maximum counts."""
    x = np.random.default_rng(1).integers(-2, 3, (3, 10, 9, 8)).astype(np.float32)
    image, pooled = tensor_text(x.shape), tensor_text((3, 10, 5, 7))
    body = f"%y = nn.max_pool_grad %g, %x {{{WINDOW}}} : {pooled}, {image} -> {image}"
    check({"g": random(3, 10, 5, 7), "x": x}, body, {"y": image}, target)


def test_average_pool_gradient(target: str) -> None:
    image, pooled = tensor_text((3, 10, 9, 8)), tensor_text((3, 10, 5, 7))
    body = f"%y = nn.average_pool_grad %g {{{WINDOW}, count_include_pad = 0 : i64}} : {pooled} -> {image}"
    check({"g": random(3, 10, 5, 7)}, body, {"y": image}, target)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_max_gradient(keepdims: int, target: str) -> None:
    x = np.random.default_rng(2).integers(-2, 3, (5, 6, 7)).astype(np.float32)
    g = random(5, 1, 7) if keepdims else random(5, 7)
    body = (
        f"%y = nn.reduce_max_grad %g, %x {{axes = array<i64: 1>, keepdims = {keepdims} : i64}} : "
        f"{tensor_text(g.shape)}, {tensor_text(x.shape)} -> {tensor_text(x.shape)}"
    )
    check({"g": g, "x": x}, body, {"y": tensor_text(x.shape)}, target)


@pytest.mark.parametrize(
    ("axis", "indices"), [(0, (4, 9)), (1, (11,)), (2, (2, 3)), (1, ())], ids=["rows", "1", "2", "scalar"]
)
def test_gather_gradient(axis: int, indices: tuple[int, ...], target: str) -> None:
    """Indices meet again and again, some counted from the end: the order of the sums tells."""
    shape = (6, 5, 7)
    picked = np.random.default_rng(3).integers(-shape[axis], shape[axis], indices)
    g = random(*shape[:axis], *indices, *shape[axis + 1 :])
    body = (
        f"%y = nn.gather_grad %g, %i {{axis = {axis} : i64}} : {tensor_text(g.shape)}, "
        f"{tensor_text(indices, 'i64')} -> {tensor_text(shape)}"
    )
    check({"g": g, "i": np.asarray(picked)}, body, {"y": tensor_text(shape)}, target)


LIGHTNORMS = {
    "plain": ((4, 12, 6, 4), 8),
    "channels that fill no group": ((3, 10, 5, 4), 4),
    "a matrix": ((40, 9), 8),
    "one chunk of few positions": ((5, 6), 8),
    "more positions than lanes": ((7, 3, 9, 11), 1),
}


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize(("shape", "chunks"), LIGHTNORMS.values(), ids=list(LIGHTNORMS))
def test_lightnorm_forward_and_backward(
    shape: tuple[int, ...], chunks: int, rounding: str, target: str
) -> None:
    """Sums of tensors make them lie with channels innermost; few values, so that extrema stand twice."""
    rng = np.random.default_rng(4)
    x = rng.integers(-9, 10, shape).astype(np.float32) / np.float32(4)
    channels = shape[1]
    positions = x.size // channels
    image, vector = tensor_text(shape), tensor_text((channels,))
    places = tensor_text((channels, np.gcd(positions, chunks)), "i64")
    arguments = {
        "x": np.moveaxis(x, 1, -1).copy(),
        "g": np.moveaxis(random(*shape, seed=5) * np.float32(0.01), 1, -1).copy(),
        "gamma": random(channels, seed=6),
        "beta": random(channels, seed=7),
    }
    last = tensor_text(arguments["x"].shape)
    order = ", ".join(map(str, (0, len(shape) - 1, *range(1, len(shape) - 1))))
    turned = f"{{permutation = array<i64: {order}>}} : {last} -> {image}"
    results = {
        "y": image,
        "mean": vector,
        "range": vector,
        "xhat": image,
        "argmax": places,
        "argmin": places,
        "scale": vector,
        "gamma_q": vector,
    }
    names = ", ".join(f"%{name}" for name in results)
    body = f"""%xt = nn.transpose %x {turned}
  %gt = nn.transpose %g {turned}
  %xr = nn.batch_norm %xt, %one, %zero, %zero, %one {{eps = 0.0 : f32}} : {", ".join([image] + 4 * [vector])}
    -> {image}
  %gr = nn.batch_norm %gt, %one, %zero, %zero, %one {{eps = 0.0 : f32}} : {", ".join([image] + 4 * [vector])}
    -> {image}
  {names} = lightnorm.forward %xr, %gamma, %beta {{eps = 0.001 : f32, num_chunks = {chunks} : i64,
    rounding = "{rounding}"}} : {image}, {vector}, {vector} -> {", ".join(results.values())}
  %dx, %dgamma, %dbeta = lightnorm.backward %gr, %xhat, %argmax, %argmin, %scale, %gamma_q
    {{rounding = "{rounding}"}} : {image}, {image}, {places}, {places}, {vector}, {vector}
    -> {image}, {vector}, {vector}"""
    arguments |= {"one": np.ones(channels, np.float32), "zero": np.zeros(channels, np.float32)}
    found = check(arguments, body, {**results, "dx": image, "dgamma": vector, "dbeta": vector}, target)
    assert np.unique(found.simulation.outputs["dx"]).size > 8


def test_lightnorm_of_channels_that_are_not_innermost_is_an_error() -> None:
    image, vector = tensor_text((2, 8, 4, 4)), tensor_text((8,))
    body = (
        "%y, %m, %r, %h, %a, %i, %s, %q = lightnorm.forward %x, %v, %v {eps = 0.001 : f32, "
        f'num_chunks = 4 : i64, rounding = "nearest"}} : {image}, {vector}, {vector} -> {image}, {vector}, '
        f"{vector}, {image}, tensor<8x4xi64>, tensor<8x4xi64>, {vector}, {vector}"
    )
    with pytest.raises(CompileError, match="FX430"):
        check({"x": random(2, 8, 4, 4), "v": random(8)}, body, {"y": image}, "flexblock")


def test_what_lightnorm_reads_is_put_with_channels_innermost(target: str) -> None:
    """As the gradient of a global average pool is, which has no layout of its own."""
    image, vector = tensor_text((2, 8, 4, 4)), tensor_text((8,))
    body = (
        f"%e = nn.expand %x : {tensor_text((1, 8, 4, 4))} -> {image}\n"
        "%y, %m, %r, %h, %a, %i, %s, %q = lightnorm.forward %e, %v, %v {eps = 0.001 : f32, "
        f'num_chunks = 4 : i64, rounding = "nearest"}} : {image}, {vector}, {vector} -> {image}, {vector}, '
        f"{vector}, {image}, tensor<8x4xi64>, tensor<8x4xi64>, {vector}, {vector}"
    )
    found = check({"x": random(1, 8, 4, 4), "v": random(8)}, body, {"y": image}, target)
    assert np.unique(found.simulation.outputs["y"]).size > 8


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_lightnorm_with_statistics_that_are_given(rounding: str, target: str) -> None:
    image, vector = tensor_text((2, 10, 4, 3)), tensor_text((10,))
    body = (
        "%y = lightnorm.infer %x, %gamma, %beta, %mean, %var {eps = 0.001 : f32, "
        f'rounding = "{rounding}", activation = "relu", activation_parameters = []}} : '
        f"{', '.join([image] + 4 * [vector])} -> {image}"
    )
    vectors = {name: random(10, seed=seed) for seed, name in enumerate(("gamma", "beta", "mean"))}
    arguments = {"x": random(2, 10, 4, 3), **vectors, "var": np.abs(random(10, seed=9))}
    found = check(arguments, body, {"y": image}, target).simulation.outputs["y"]
    assert np.unique(found).size > 8


@pytest.mark.parametrize("op", ["reduce_sum", "reduce_mean"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 41, 5), (0, 1)),
        ((1999,), (0,)),
        ((3, 1201, 7), (1,)),
        ((2, 3, 37, 50), (2, 3)),
        ((3, 1, 1300), (1, 2)),
        ((1100, 90), (0,)),
    ],
)
def test_sums_that_go_on_from_tile_to_tile(
    op: str, keepdims: int, shape: tuple[int, ...], axes: tuple[int, ...], tmp_path: Path
) -> None:
    kept = [1 if dim in axes else extent for dim, extent in enumerate(shape)]
    out = tensor_text(
        kept if keepdims else [shape[dim] for dim in range(len(shape)) if dim not in axes], "f32"
    )
    listed = ", ".join(map(str, axes))
    body = (
        f"%y = nn.{op} %x {{axes = array<i64: {listed}>, keepdims = {str(bool(keepdims)).lower()}}} : "
        f"{tensor_text(shape, 'f32')} -> {out}"
    )
    x = random(*shape)
    # A lane that was +0 stays it, whatever the sign of the zeros that it takes up.
    x[np.abs(x) < 1e-3] = -0.0
    found = check({"x": x}, body, {"y": out}, small_target(tmp_path))
    names = [FUNCTIONS[code].name for code in found.stream.records["function"].tolist()]
    assert "window_add" in names
    assert not {"reduce_sum", "reduce_mean"} & set(names)


def test_a_sum_over_positions_that_lie_apart_has_to_fit(tmp_path: Path) -> None:
    shape = (30, 5, 410)
    attributes = "{axes = array<i64: 0, 2>, keepdims = false}"
    body = f"%y = nn.reduce_sum %x {attributes} : {tensor_text(shape, 'f32')} -> tensor<5xf32>"
    with pytest.raises(CompileError, match="FX421"):
        check({"x": random(*shape)}, body, {"y": "tensor<5xf32>"}, small_target(tmp_path))
