"""Vector records against the functions of flexc.numerics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc import numerics
from flexc.backends.stream.isa import Format, Opcode, Space
from flexc.backends.stream.isa_functions import FUNCTION_CODES, FUNCTIONS, FunctionSpec
from flexc.backends.stream.record_builder import Operand, Record
from tests.stream_bench import Bench, normal, split, whole

Array = NDArray[Any]
IMMEDIATES = {
    "add_from_tap": (1.0,),
    "clip": (-0.5, 0.75),
    "leaky_relu": (0.1,),
    "hard_sigmoid": (0.25, 0.5),
    "batch_norm": (1e-3,),
    "layer_norm": (1e-3,),
}


@pytest.mark.parametrize("spec", FUNCTIONS, ids=lambda spec: spec.name)
def test_vector_functions(spec: FunctionSpec) -> None:
    shape = (5, 3, 4)
    sources = [np.abs(normal(*shape, seed=seed)) if seed else normal(*shape) for seed in range(spec.sources)]
    if spec.name in ("log", "sqrt", "power"):
        sources[0] = np.abs(sources[0])
    if spec.name == "add_from_tap":
        sources[1] = np.floor(sources[1])
    if spec.name == "where":
        sources[0] = sources[0] > 0
    bench = Bench()
    dims = split(shape, 0, 2, 1)
    buffers = []
    for values in sources:
        fmt = Format.I1 if values.dtype == bool else Format.F32
        given = bench.given(values, fmt)
        buffers.append(bench.buffer((3, 3, 4), fmt, local=True))
        bench.load(buffers[-1], given, dims, (1, 2, 1))
    reduced = 0 if spec.kind == "elementwise" else 2
    vanishes = spec.kind in ("reduce", "window")
    result = Format.I1 if spec.name in ("equal", "less", "greater") else Format.F32
    shape_out = (5,) if vanishes else shape
    dst = bench.buffer((3, *shape_out[1:]), result, space=Space.PSUM, local=True)
    strides = (*dst.stride, 0, 0) if vanishes else dst.stride
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=dims,
            operands=(Operand(dst.slot, dst.format, dst.addressing, strides), *buffers),
            function=FUNCTION_CODES[spec.name],
            reduced_dims=reduced,
            immediate=IMMEDIATES.get(spec.name, ()),
            core_grid=(1, 2, 1),
        )
    )
    bench.store(bench.result("y", shape_out, result), dst, split(shape_out, 0, 2, 1), (1, 2, 1))
    found = bench.run()["y"]
    assert found.tobytes() == np.ascontiguousarray(expected_of(spec.name, sources)).tobytes()


def expected_of(name: str, sources: list[Array]) -> Array:
    """What a vector function makes of [5, 3, 4] sources, rows being the last two dimensions."""
    rows = sources[0].reshape(5, 12)
    immediates = IMMEDIATES.get(name, ())
    kernel: Callable[..., Array] = getattr(numerics, name, numerics.gelu)
    if name in ("copy", "cast"):
        return sources[0]
    if name == "gelu_tanh":
        return numerics.gelu(sources[0], approximate="tanh")
    if name in ("softmax", "log_softmax"):
        return kernel(rows, axis=-1)
    if name in ("reduce_sum", "reduce_mean", "reduce_max"):
        return kernel(rows, axes=(1,))
    if name == "reduce_max_grad":
        return numerics.reduce_max_grad(sources[0][:, :1, :1], sources[1], axes=(1, 2), keepdims=True)
    if name == "add_from_tap":
        passed = np.where(sources[1] == np.float32(immediates[0]), sources[2], np.float32(0))
        return np.asarray(sources[0] + passed)
    if name == "window_argmax":
        return np.asarray(rows.argmax(axis=1), np.float32)
    if name == "window_add":
        total = np.array(sources[0].reshape(5, -1)[:, 0])
        for column in sources[1].reshape(5, -1).T:
            total += column
        return np.asarray(total)
    if name == "window_max":
        return np.asarray(rows.max(axis=1))
    if name == "window_sum":
        total = np.zeros(5, np.float32)
        for column in rows.T:
            total += column
        return np.asarray(total)
    if name == "layer_norm":
        return numerics.layer_norm(*sources, axis=1, eps=immediates[0])
    if name == "batch_norm":
        scale = sources[1] / np.sqrt(sources[4] + np.float32(immediates[0]))
        return np.asarray(sources[0] * scale + (sources[2] - sources[3] * scale))
    if name == "clip":
        return numerics.clip(sources[0], minimum=immediates[0], maximum=immediates[1])
    if name == "leaky_relu":
        return numerics.leaky_relu(sources[0], alpha=immediates[0])
    if name == "hard_sigmoid":
        return numerics.hard_sigmoid(sources[0], alpha=immediates[0], beta=immediates[1])
    return kernel(*sources)


def test_batch_norm_is_that_of_numerics() -> None:
    x, *vectors = normal(4, 6), *(np.abs(normal(6, seed=seed)) for seed in range(1, 5))
    bench = Bench()
    buffer = bench.loaded(x, Format.F32)
    rows = []
    for values in vectors:
        loaded = bench.loaded(values, Format.F32)
        rows.append(Operand(loaded.slot, loaded.format, loaded.addressing, (0, 32)))
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=whole(x.shape),
            operands=(buffer, buffer, *rows),
            function=FUNCTION_CODES["batch_norm"],
            immediate=(1e-3,),
            core_grid=(1, 1, 1),
        )
    )
    bench.store(bench.result("y", x.shape, Format.F32), buffer, whole(x.shape))
    gamma, beta, mean, variance = vectors
    expected = numerics.batch_norm(x, gamma, beta, mean, variance, eps=1e-3)
    assert bench.run()["y"].tobytes() == expected.tobytes()


def test_layer_norm_without_beta() -> None:
    x, gamma = normal(4, 6), normal(6, seed=1)
    bench = Bench()
    buffer, loaded = bench.loaded(x, Format.F32), bench.loaded(gamma, Format.F32)
    row = Operand(loaded.slot, loaded.format, loaded.addressing, (0, 32))
    bench.records.append(
        Record(
            Opcode.VECTOR,
            dims=whole(x.shape),
            operands=(buffer, buffer, row),
            function=FUNCTION_CODES["layer_norm"],
            reduced_dims=1,
            immediate=(1e-3,),
            core_grid=(1, 1, 1),
        )
    )
    bench.store(bench.result("y", x.shape, Format.F32), buffer, whole(x.shape))
    assert bench.run()["y"].tobytes() == numerics.layer_norm(x, gamma, eps=1e-3).tobytes()
