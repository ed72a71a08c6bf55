"""The vector kernels against onnxruntime, one small model each: the same operators, not the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from flexc import numerics

Float32Array = NDArray[np.float32]


def run(op: str, *inputs: NDArray[Any], opset: int = 20, **attributes: Any) -> NDArray[Any]:
    """One node in onnxruntime; the first output."""
    names = [f"x{i}" for i in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "one_node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


def values(*shape: int) -> Float32Array:
    return np.random.default_rng(len(shape)).uniform(-4, 4, shape).astype(np.float32)


def close(got: NDArray[Any], expected: NDArray[Any], rtol: float = 2e-6) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("op", "kernel"),
    [
        ("Exp", numerics.exp),
        ("Tanh", numerics.tanh),
        ("Erf", numerics.erf),
        ("Sigmoid", numerics.sigmoid),
        ("Gelu", numerics.gelu),
        ("HardSwish", numerics.hard_swish),
        ("HardSigmoid", numerics.hard_sigmoid),
        ("LeakyRelu", numerics.leaky_relu),
        ("Relu", numerics.relu),
        ("Floor", numerics.floor),
        ("Reciprocal", numerics.reciprocal),
        ("Neg", numerics.neg),
        ("Abs", numerics.absolute),
    ],
)
def test_elementwise(op: str, kernel: Any) -> None:
    x = values(3, 500)
    close(kernel(x), run(op, x))


def test_elementwise_on_part_of_the_line() -> None:
    x = np.abs(values(3, 500))
    close(numerics.log(x), run("Log", x))
    close(numerics.sqrt(x), run("Sqrt", x))
    y = values(500)
    close(numerics.power(x, y), run("Pow", x, y), rtol=1e-5)
    close(numerics.gelu(y, approximate="tanh"), run("Gelu", y, approximate="tanh"))
    bounds = np.array(-1.5, np.float32), np.array(2.0, np.float32)
    close(numerics.clip(y, minimum=-1.5, maximum=2.0), run("Clip", y, *bounds))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis: int) -> None:
    x = values(5, 37, 11)
    close(numerics.softmax(x, axis=axis), run("Softmax", x, axis=axis))
    close(numerics.log_softmax(x, axis=axis), run("LogSoftmax", x, axis=axis))


@pytest.mark.parametrize(
    ("op", "kernel"),
    [
        ("ReduceSum", numerics.reduce_sum),
        ("ReduceMean", numerics.reduce_mean),
        ("ReduceMax", numerics.reduce_max),
    ],
)
def test_reductions(op: str, kernel: Any) -> None:
    x = values(3, 5, 7, 9)
    for axes in [(1,), (0, 2), (-1, -2), (0, 1, 2, 3)]:
        for keepdims in (False, True):
            expected = run(op, x, np.array(axes), keepdims=int(keepdims))
            close(kernel(x, axes=axes, keepdims=keepdims), expected, rtol=1e-5)


def test_normalizations() -> None:
    x, gamma, beta = values(4, 6, 5), values(6, 5), values(6, 5) + np.float32(1)
    close(
        numerics.layer_norm(x, gamma, beta, axis=1, eps=1e-4),
        run("LayerNormalization", x, gamma, beta, axis=1, epsilon=1e-4),
    )
    scale, shift, mean, variance = (
        values(6),
        values(6) + np.float32(1),
        values(6),
        np.abs(values(6)) + np.float32(0.1),
    )
    close(
        numerics.batch_norm(x, scale, shift, mean, variance, eps=1e-3),
        run("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-3),
        rtol=1e-5,
    )


POOLS = [
    ((2, 3, 15), (3,), (2,), (1, 1)),
    ((2, 3, 14, 15), (3, 3), (2, 2), (1, 1, 1, 1)),
    ((2, 3, 14, 15), (2, 3), (3, 2), (0, 1, 1, 1)),
    ((1, 2, 7, 8, 9), (2, 3, 2), (2, 2, 1), (0, 1, 0, 1, 1, 1)),
]
each_pool = pytest.mark.parametrize(("shape", "kernel", "stride", "pads"), POOLS)


@each_pool
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    ceil_mode: bool,
) -> None:
    x = values(*shape)
    for dilation in ((1,) * len(kernel), (2,) * len(kernel)):
        expected = run(
            "MaxPool",
            x,
            kernel_shape=kernel,
            strides=stride,
            pads=pads,
            dilations=dilation,
            ceil_mode=int(ceil_mode),
        )
        y = numerics.max_pool(
            x, kernel=kernel, stride=stride, pads=pads, dilation=dilation, ceil_mode=ceil_mode
        )
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()


@each_pool
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_average_pool(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    ceil_mode: bool,
    count_include_pad: bool,
) -> None:
    x = values(*shape)
    expected = run(
        "AveragePool",
        x,
        kernel_shape=kernel,
        strides=stride,
        pads=pads,
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
    )
    y = numerics.average_pool(
        x,
        kernel=kernel,
        stride=stride,
        pads=pads,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    close(y, expected, rtol=1e-5)


def test_contractions() -> None:
    x, w, bias = values(2, 6, 11, 9), values(8, 3, 3, 3), values(8)
    attributes: dict[str, Any] = {"group": 2}
    close(
        numerics.conv(x, w, bias, stride=(2, 1), pads=(1, 0, 2, 1), dilation=(1, 2), **attributes),
        run("Conv", x, w, bias, strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2), **attributes),
        rtol=1e-5,
    )
    a, b = values(2, 1, 7, 19), values(3, 19, 5)
    close(numerics.matmul(a, b), run("MatMul", a, b), rtol=1e-5)


def test_movement() -> None:
    x = values(3, 4, 5)
    indices = np.array([[0, -1], [2, 1]])
    assert (numerics.gather(x, indices, axis=1) == run("Gather", x, indices, axis=1)).all()
    for mode in ("constant", "reflect", "edge", "wrap"):
        pads = (1, 0, 2, 0, 2, 1)
        expected = run("Pad", x, np.array(pads), mode=mode)
        assert (numerics.pad(x, pads=pads, mode=mode) == expected).all()
    assert (numerics.transpose(x, permutation=(2, 0, 1)) == run("Transpose", x, perm=(2, 0, 1))).all()
    assert (numerics.expand(x, shape=(2, 1, 1, 1)) == run("Expand", x, np.array([2, 1, 1, 1]))).all()


def test_bilinear_resize_is_gathers_and_blends() -> None:
    x = values(1, 2, 5, 6)
    expected = run(
        "Resize",
        x,
        np.array([], np.float32),
        np.array([1.0, 1.0, 2.0, 1.5], np.float32),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    y = x
    for axis, (size, scale) in {2: (10, 2.0), 3: (9, 1.5)}.items():
        source = np.clip((np.arange(size) + 0.5) / scale - 0.5, 0, y.shape[axis] - 1)
        low = np.floor(source).astype(np.int64)
        high = np.minimum(low + 1, y.shape[axis] - 1)
        by_axis = tuple(-1 if dim == axis else 1 for dim in range(4))
        share = (source - low).astype(np.float32).reshape(by_axis)
        near = numerics.gather(y, low, axis=axis)
        rise = numerics.sub(numerics.gather(y, high, axis=axis), near)
        y = numerics.add(near, numerics.mul(rise, share))
    close(y, expected, rtol=1e-5)
