"""Functions of the quantized export give the kernels' bits on onnxruntime, on telling inputs."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from flexc import numerics
from flexc.exporter.quantized import blocks, lightnorm, reductions
from flexc.exporter.quantized.contractions import ConvGeometry, conv, matmul, segment_edges
from flexc.exporter.quantized.floats import exponent, minifloat
from flexc.exporter.quantized.function_body import Body, Operand
from flexc.exporter.quantized.kernels import KERNELS, Specialization
from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.numerics.minifloat import FP10A, STATS, MinifloatFormat
from flexc.numerics.windows import Windows
from tests.onnx_functions import run_function, same_bytes

Array: TypeAlias = npt.NDArray[np.float32]


def wide(*shape: int, spread: int = 20, seed: int = 0) -> Array:
    """Normal numbers whose exponents spread far, with zeros of both signs and subnormals among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread, shape)
    found = x.astype(np.float32)
    flat = found.reshape(-1)
    flat[:: max(1, flat.size // 7)] = 0.0
    flat[1 :: max(2, flat.size // 5)] = -0.0
    flat[2 :: max(3, flat.size // 4)] = 3e-40
    return found


def every_exponent() -> Array:
    """Around each power of two, and at random in between; both signs, zeros, subnormals."""
    powers = np.ldexp(np.float32(1), np.arange(-149, 128)).astype(np.float32)
    near = np.concatenate(
        [np.nextafter(powers, np.float32(0)), powers, np.nextafter(powers, np.float32(np.inf))]
    )
    bits = np.random.default_rng(0).integers(0, 0x7F800000, 4000, np.uint32).view(np.float32)
    magnitudes = np.concatenate([near, bits, np.array([0, 1, 2, 3, 0.5], np.float32)])
    return np.concatenate([magnitudes, -magnitudes]).astype(np.float32)


def test_exponents_are_exact_around_every_power_of_two() -> None:
    x = every_exponent()
    fields = (np.abs(x).view(np.int32) >> 23) - 127
    assert np.array_equal(run_function(exponent, [x]), np.maximum(fields, -126))


@pytest.mark.parametrize("rounding", [Rounding.NEAREST, Rounding.TRUNCATE])
@pytest.mark.parametrize("to", [FP10A, STATS], ids=["FP10A", "STATS"])
def test_minifloats(to: MinifloatFormat, rounding: Rounding) -> None:
    rng = np.random.default_rng(1)
    ties = (rng.integers(-(2**7), 2**7, 500) * 2.0 ** rng.integers(-20, 14, 500)).astype(np.float32)
    x = np.concatenate([every_exponent(), ties])
    wanted = numerics.minifloat(
        x, exponent_bits=to.exponent_bits, fraction_bits=to.fraction_bits, rounding=rounding
    )
    assert same_bytes(run_function(partial(minifloat, to=to, rounding=rounding), [x]), wanted)


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 9])
def test_groups_of_ten_bits(channels: int) -> None:
    x = numerics.minifloat(wide(2, channels, 5, 3, spread=6), exponent_bits=5, fraction_bits=4)
    found = run_function(partial(lightnorm.bfp10, shape=x.shape), [x])
    assert same_bytes(found, numerics.bfp10(x, bits=7))


@pytest.mark.parametrize("rounding", [Rounding.NEAREST, Rounding.TRUNCATE])
@pytest.mark.parametrize(
    ("bits", "sign", "tile"),
    [
        (4, Sign.INCLUDED, (1, 7, 1, 1)),
        (8, Sign.INCLUDED, (1, 4, 1, 1)),
        (16, Sign.INCLUDED, (1, 100, 1, 1)),
        (4, Sign.SEPARATE, (2, 3, 2, 2)),
        (24, Sign.INCLUDED, (1, 1, 1, 1)),
    ],
)
def test_quantizing(bits: int, sign: Sign, tile: tuple[int, ...], rounding: Rounding) -> None:
    x = wide(3, 10, 3, 5)
    x[0, :4, 0, 0] = [2.0**-126, 2.0**-127, 2.0**-130, 0]
    x[1, :4, 0, 0] = [3e38, -3.4e38, 2.0**127, 1]
    block = numerics.quantize(x, mantissa_bits=bits, sign=sign, tile=tile, rounding=rounding)
    spelled = partial(
        blocks.quantize, shape=x.shape, tile=tile, to=BlockFormat(bits, sign), rounding=rounding
    )
    assert same_bytes(run_function(spelled, [x]), numerics.dequantize(block))


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("clip", {"minimum": -0.5, "maximum": np.inf}),
        ("clip", {"minimum": 0.0, "maximum": 6.0}),
        ("erf", {}),
        ("exp", {}),
        ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
        ("hard_swish", {}),
        ("leaky_relu", {"alpha": 0.01}),
        ("log", {}),
        ("reciprocal", {}),
        ("relu", {}),
        ("sigmoid", {}),
        ("tanh", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_of_the_vector_unit(name: str, keywords: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    middle = (rng.standard_normal(3000) * 8).astype(np.float32)
    infinite = np.array([np.inf, -np.inf], np.float32)
    x = np.concatenate([every_exponent(), middle, infinite])
    made_for = Specialization((Operand(x.shape),), tuple(keywords.items()), x.shape)

    def build(body: Body, x: str) -> str:
        return KERNELS[name].build(body, (x,), made_for)

    assert same_bytes(run_function(build, [x]), getattr(numerics, name)(x, **keywords))


@pytest.mark.parametrize("op", ["Sqrt", "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Floor"])
def test_standard_operators_that_are_one_ieee_operation(op: str) -> None:
    kernels = {"Sqrt": "sqrt", "Neg": "neg", "Abs": "absolute", "Floor": "floor"}
    x = every_exponent()
    y = np.random.default_rng(3).permutation(x)
    operands = [x] if op in kernels else [x, y]
    wanted = getattr(numerics, kernels.get(op, op.lower()))(*operands)
    assert same_bytes(run_function(lambda body, *names: body.node(op, *names), operands), wanted)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_of_equal_zeros_the_first_is_chosen(name: str) -> None:
    x, y = np.array([[0.0, -0.0, 1, 2, -3], [-0.0, 0.0, 2, 1, -3]], np.float32)
    made_for = Specialization((Operand(x.shape), Operand(y.shape)), (), x.shape)
    found = run_function(lambda body, *names: KERNELS[name].build(body, names, made_for), [x, y])
    assert same_bytes(found, getattr(numerics, name)(x, y))


@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 1, 2, 3)])
def test_sums_and_means_go_by_lanes(axes: tuple[int, ...]) -> None:
    x = wide(2, 37, 5, 9)
    for spelled, kernel in (
        (reductions.lane_sum, numerics.reduce_sum),
        (reductions.mean, numerics.reduce_mean),
    ):
        found = run_function(partial(spelled, shape=x.shape, axes=axes), [x])
        assert same_bytes(found, kernel(x, axes=axes, keepdims=True))


@pytest.mark.parametrize("count", [5, 16, 32])
def test_a_sum_of_negative_zeros_is_positive(count: int) -> None:
    x = np.full((1, count), -0.0, np.float32)
    assert same_bytes(run_function(partial(reductions.lane_sum, shape=x.shape, axes=(1,)), [x]), -x[:, :1])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(name: str, axis: int) -> None:
    x = (np.random.default_rng(4).standard_normal((3, 20, 7)) * 20).astype(np.float32)
    found = run_function(partial(getattr(reductions, name), shape=x.shape, axis=axis), [x])
    assert same_bytes(found, getattr(numerics, name)(x, axis=axis))


def test_layer_norm() -> None:
    x, gamma, beta = wide(4, 50, spread=4), wide(50, seed=1), wide(50, seed=2)
    spelled = partial(reductions.layer_norm, shape=x.shape, axis=-1, eps=1e-5)
    assert same_bytes(run_function(spelled, [x, gamma, beta]), numerics.layer_norm(x, gamma, beta, axis=-1))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_pools(ceil_mode: bool, include: bool) -> None:
    x = wide(2, 3, 9, 7)
    x[0, 0, :3, :3] = [[-0.0, 0.0, -1], [0.0, -0.0, -0.0], [-2, -0.0, 0.0]]
    attributes: dict[str, Any] = {
        "kernel": (3, 2), "stride": (2, 2), "pads": (1, 0, 1, 1), "dilation": (1, 1), "ceil_mode": ceil_mode
    }  # fmt: skip
    windows = Windows.over(x.shape, **attributes)
    assert same_bytes(
        run_function(partial(reductions.max_pool, windows=windows), [x]), numerics.max_pool(x, **attributes)
    )
    found = run_function(partial(reductions.average_pool, windows=windows, count_include_pad=include), [x])
    assert same_bytes(found, numerics.average_pool(x, count_include_pad=include, **attributes))


def test_segments_end_where_a_group_of_either_operand_does() -> None:
    assert segment_edges(10, 4, 6) == [0, 4, 6, 8, 10]
    assert segment_edges(10, 4, 100, 10) == [0, 2, 6, 10]
    assert segment_edges(3, 100, 100, 6) == [0, 3]


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], ConvGeometry, int, int]] = {
    "plain": ((2, 20, 7, 6), (5, 20, 3, 3), ConvGeometry((2, 1), (1, 0, 1, 2), (1, 1), 1), 8, 6),
    "dilated": ((1, 9, 9, 9), (4, 9, 3, 2), ConvGeometry((1, 2), (2, 1, 2, 1), (2, 3), 1), 100, 4),
    "groups that cut differently": (
        (1, 18, 5, 5),
        (6, 6, 3, 3),
        ConvGeometry((1, 1), (1,) * 4, (1, 1), 3),
        4,
        5,
    ),
    "depthwise": ((2, 12, 6, 6), (12, 1, 3, 3), ConvGeometry((1, 1), (1,) * 4, (1, 1), 12), 8, 1),
    "one dimension": ((2, 10, 12), (3, 10, 4), ConvGeometry((3,), (2, 1), (1,), 1), 4, 4),
}


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_segment_by_segment(case: str, bits: int) -> None:
    x_shape, w_shape, geometry, x_length, w_length = CONVOLUTIONS[case]
    ones = (1,) * (len(x_shape) - 2)
    x_tile, w_tile = (1, x_length, *ones), (1, w_length, *ones)
    # Exponents that spread far make the order of the partials show.
    x = numerics.quantize(wide(*x_shape), mantissa_bits=bits, tile=x_tile)
    w = numerics.quantize(wide(*w_shape, seed=5), mantissa_bits=bits, tile=w_tile)
    bias = wide(w_shape[0], spread=3, seed=6)
    keywords = {name: getattr(geometry, name) for name in ("stride", "pads", "dilation", "group")}
    wanted = numerics.block_conv(x, w, bias, **keywords)
    spelled = partial(
        conv,
        of_x=Operand(x_shape, bits, x_tile),
        of_w=Operand(w_shape, bits, w_tile),
        geometry=geometry,
        output=wanted.shape,
    )
    found = run_function(spelled, [numerics.dequantize(x), numerics.dequantize(w), bias])
    assert same_bytes(found, wanted)


@pytest.mark.parametrize(("a_shape", "b_shape"), [((5, 30), (30, 4)), ((2, 3, 5, 30), (3, 30, 2))])
def test_products_segment_by_segment(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    a_tile = (*(1 for _ in a_shape[1:]), 8)
    b_tile = (*(1 for _ in b_shape[2:]), 12, 1)
    a = numerics.quantize(wide(*a_shape), mantissa_bits=8, tile=a_tile)
    b = numerics.quantize(wide(*b_shape, seed=5), mantissa_bits=4, tile=b_tile)
    bias = wide(b_shape[-1], seed=6)
    spelled = partial(matmul, of_a=Operand(a_shape, 8, a_tile), of_b=Operand(b_shape, 4, b_tile))
    found = run_function(spelled, [numerics.dequantize(a), numerics.dequantize(b), bias])
    assert same_bytes(found, numerics.block_matmul(a, b, bias))


def test_values_of_mantissas() -> None:
    x = numerics.quantize(wide(5, 7, 3, 3), mantissa_bits=8, tile=(1, 4, 3, 3))
    step = np.ldexp(np.float32(1), x.exponent.astype(np.int32) - 133)
    found = run_function(partial(blocks.values, shape=x.shape, tile=(1, 4, 3, 3)), [x.mantissa, step])
    assert same_bytes(found, numerics.dequantize(x))
