"""The three passes of a convolution: fast against reference, over shapes, attributes, formats and tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import (
    BlockTensor,
    NonFiniteError,
    block_conv,
    block_conv_local_grad,
    block_conv_local_grad_reference,
    block_conv_reference,
    block_conv_weight_grad,
    block_conv_weight_grad_reference,
    quantize,
)
from flexc.numerics import contraction as contraction_module
from flexc.numerics import convolution as convolution_module
from flexc.numerics import convolution_depthwise as depthwise_module
from flexc.numerics import convolution_local_gradient as local_gradient_module
from flexc.numerics.convolution_geometry import ConvGeometry

pytestmark = pytest.mark.usefixtures("engine")

Array = NDArray[np.float32]
Shape = tuple[int, ...]


class Attributes(TypedDict):
    """The keyword arguments of every pass."""

    stride: Shape
    pads: Shape
    dilation: Shape
    group: int


@dataclass(frozen=True)
class Case:
    """A convolution; ``group_length`` is that of one-axis tiles, and 1 more for the second operand."""

    x: Shape
    w: Shape
    stride: Shape
    pads: Shape
    dilation: Shape
    group: int = 1
    group_length: int = 3

    @property
    def attributes(self) -> Attributes:
        return {"stride": self.stride, "pads": self.pads, "dilation": self.dilation, "group": self.group}

    @property
    def y(self) -> Shape:
        return ConvGeometry.of(self.x, self.w, **self.attributes).y_shape


CASES = {
    "plain": Case((2, 7, 4, 5), (3, 7, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "one tap": Case((2, 7, 4, 3), (3, 7, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    "one tap, strided": Case((2, 7, 5, 5), (3, 7, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    "asymmetric": Case((1, 4, 7, 5), (3, 4, 3, 2), (2, 1), (2, 0, 1, 3), (1, 2)),
    "padding wider than the kernel": Case((1, 2, 2, 2), (2, 2, 2, 2), (2, 2), (3, 3, 3, 3), (1, 1)),
    "groups cut tiles": Case((1, 8, 4, 3), (10, 4, 3, 2), (1, 1), (1, 1, 1, 1), (1, 1), 2, 2),
    "batch in groups": Case((7, 2, 3, 3), (2, 2, 2, 2), (1, 1), (1, 0, 0, 1), (1, 1), 1, 2),
    "depthwise": Case((2, 5, 6, 7), (5, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 5),
    "depthwise, strided": Case((2, 5, 6, 7), (5, 1, 3, 2), (2, 3), (1, 2, 0, 1), (2, 1), 5),
    "depthwise with multiplier": Case((1, 3, 5, 4), (6, 1, 2, 2), (1, 2), (0, 0, 1, 1), (1, 1), 3),
    "one channel": Case((2, 1, 4, 5), (1, 1, 3, 2), (1, 1), (1, 0, 0, 1), (1, 1)),
    "1-d": Case((2, 5, 9), (3, 5, 4), (2,), (1, 2), (2,)),
    "1-d depthwise": Case((2, 4, 9), (4, 1, 3), (2,), (1, 1), (1,), 4),
    "3-d": Case((1, 4, 3, 4, 3), (2, 4, 2, 3, 2), (1, 2, 1), (1, 0, 1, 0, 1, 0), (1, 1, 2)),
    "3-d depthwise": Case((1, 2, 3, 4, 3), (2, 1, 2, 2, 2), (1, 1, 2), (0, 1, 0, 1, 0, 1), (1, 1, 1), 2),
}
FORMATS = [(4, 4), (8, 8), (16, 16), (8, 16), (24, 4)]
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
formats = pytest.mark.parametrize(("bits_a", "bits_b"), FORMATS)
tilings = pytest.mark.parametrize("tiling", ["default", "windows"])


def spread(shape: Shape, seed: int, exponents: int = 12) -> Array:
    random = np.random.default_rng(seed)
    powers = 2.0 ** random.integers(-exponents, exponents + 1, shape)
    return (random.standard_normal(shape) * powers).astype(np.float32)


def block(x: Array, bits: int, tiling: str, axis: int, length: int) -> BlockTensor:
    """``default``: groups along one axis. ``windows``: boxes that reach over positions and taps as well."""
    tile = [1] * x.ndim if tiling == "default" else [2, 3, *[2 + i % 2 for i in range(x.ndim - 2)]]
    if tiling == "default":
        tile[axis] = length
    return quantize(x, mantissa_bits=bits, tile=tile, sign="separate" if bits == 24 else "included")


def assert_same(found: Array, expected: Array) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@cases
@formats
@tilings
def test_forward(case: Case, bits_a: int, bits_b: int, tiling: str) -> None:
    x = block(spread(case.x, 1), bits_a, tiling, 1, case.group_length)
    w = block(spread(case.w, 2), bits_b, tiling, 1, case.group_length + 1)
    for bias in (None, spread(case.w[:1], 3)):
        found = block_conv(x, w, bias, **case.attributes)
        assert_same(found, block_conv_reference(x, w, bias, **case.attributes))


@cases
@formats
@tilings
def test_local_grad(case: Case, bits_a: int, bits_b: int, tiling: str) -> None:
    g = block(spread(case.y, 1), bits_a, tiling, 1, case.group_length)
    w = block(spread(case.w, 2), bits_b, tiling, 0, case.group_length + 1)
    found = block_conv_local_grad(g, w, x_shape=case.x, **case.attributes)
    assert_same(found, block_conv_local_grad_reference(g, w, x_shape=case.x, **case.attributes))


@cases
@formats
@tilings
def test_weight_grad(case: Case, bits_a: int, bits_b: int, tiling: str) -> None:
    g = block(spread(case.y, 1), bits_a, tiling, 0, case.group_length)
    x = block(spread(case.x, 2), bits_b, tiling, 0, case.group_length + 1)
    found = block_conv_weight_grad(g, x, w_shape=case.w, **case.attributes)
    assert_same(found, block_conv_weight_grad_reference(g, x, w_shape=case.w, **case.attributes))


@pytest.mark.parametrize("exponents", [0, 2, 5, 8])
def test_positions_that_are_exact_as_a_whole(monkeypatch: pytest.MonkeyPatch, exponents: int) -> None:
    """Blocks of exact and inexact positions, several to a tensor, in groups that the tiles cross."""
    monkeypatch.setattr(contraction_module, "_ROWS_TO_REUSE_COLUMNS", 5)
    monkeypatch.setattr(contraction_module, "_BLOCK_BYTES", 1)
    for module in (convolution_module, local_gradient_module):
        monkeypatch.setattr(module, "bound_pays", lambda *sizes: True)
    values = spread((3, 8, 6, 6), 1, 0)
    values[0] *= 2.0 ** np.random.default_rng(0).integers(-exponents, exponents + 1, (8, 6, 6))
    values[1, :, :3] = 0
    x = block(values, 8, "default", 1, 3)
    w = block(spread((4, 4, 3, 3), 2, 0), 8, "default", 1, 3)
    attributes: Attributes = {"stride": (1, 2), "pads": (1, 0, 0, 1), "dilation": (1, 1), "group": 2}
    assert_same(block_conv(x, w, **attributes), block_conv_reference(x, w, **attributes))
    w = block(spread((8, 4, 3, 3), 2, 0), 8, "default", 0, 3)
    x_shape = (3, 8, 7, 12)
    found = block_conv_local_grad(x, w, x_shape=x_shape, **attributes)
    assert_same(found, block_conv_local_grad_reference(x, w, x_shape=x_shape, **attributes))


@pytest.mark.parametrize(("block_elements", "longest_line"), [(1, 1 << 15), (1 << 16, 1)])
def test_depthwise_blocks(monkeypatch: pytest.MonkeyPatch, block_elements: int, longest_line: int) -> None:
    monkeypatch.setattr(depthwise_module, "_BLOCK_ELEMENTS", block_elements)
    monkeypatch.setattr(depthwise_module, "_LONGEST_LINE", longest_line)
    case = CASES["depthwise, strided"]
    x, w = block(spread(case.x, 1), 8, "default", 1, 3), block(spread(case.w, 2), 8, "default", 1, 3)
    assert_same(block_conv(x, w, **case.attributes), block_conv_reference(x, w, **case.attributes))


def test_one_weight_in_several_group_counts() -> None:
    """What is prepared of a weight for some conv groups is not taken for others."""
    w = block(spread((70, 4, 1, 1), 2), 8, "default", 1, 3)
    for group in (5, 2, 1, 2):
        x = block(spread((1, 4 * group, 3, 3), group), 8, "default", 1, 4)
        attributes: Attributes = {"stride": (1, 1), "pads": (0,) * 4, "dilation": (1, 1), "group": group}
        assert_same(block_conv(x, w, **attributes), block_conv_reference(x, w, **attributes))


def test_results_do_not_depend_on_memory() -> None:
    case = CASES["plain"]
    x, w = spread(case.x, 1), block(spread(case.w, 2), 8, "default", 1, 3)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    found = [block_conv(block(v, 8, "default", 1, 3), w, **case.attributes) for v in (x, last)]
    assert_same(found[0], found[1])
    assert found[0].transpose(0, 2, 3, 1).flags.c_contiguous


def test_padding_adds_no_minus_zero() -> None:
    x = quantize(np.zeros((1, 2, 2, 2), np.float32), mantissa_bits=8, tile=(1, 2, 1, 1))
    for w_shape, group in (((2, 2, 3, 3), 1), ((2, 1, 3, 3), 2)):
        w = quantize(-np.ones(w_shape, np.float32), mantissa_bits=8, tile=(1, 2, 1, 1))
        for bias in (None, np.full(2, -0.0, np.float32)):
            y = block_conv(x, w, bias, stride=(1, 1), pads=(1, 1, 1, 1), dilation=(1, 1), group=group)
            assert not np.signbit(y).any()


def test_overflow_names_the_first_output() -> None:
    values = np.ones((1, 2, 2, 2), np.float32)
    values[0, 1, 1, 0] = 2.0**100
    x = quantize(values, mantissa_bits=8, tile=(1, 1, 1, 1))
    w = quantize(np.full((1, 2, 1, 1), 2.0**50, np.float32), mantissa_bits=8, tile=(1, 1, 1, 1))
    attributes: Attributes = {"stride": (1, 1), "pads": (0, 0, 0, 0), "dilation": (1, 1), "group": 1}
    for conv in (block_conv, block_conv_reference):
        with pytest.raises(
            NonFiniteError, match=r"block_conv: non-finite value in 'y' at index \[0, 0, 1, 0\]"
        ):
            conv(x, w, **attributes)
        with pytest.raises(NonFiniteError, match="'bias'"):
            conv(x, w, np.array([np.inf], np.float32), **attributes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": (1,)}, "stride"),
        ({"stride": (0, 1)}, "out of range"),
        ({"pads": (0, 0, 0, -1)}, "out of range"),
        ({"group": 3}, "channels in 3 groups"),
        ({"dilation": (9, 1)}, "does not fit"),
    ],
)
def test_attributes_that_do_not_fit(change: dict[str, object], message: str) -> None:
    case = CASES["plain"]
    x, w = block(spread(case.x, 1), 8, "default", 1, 3), block(spread(case.w, 2), 8, "default", 1, 3)
    with pytest.raises(ValueError, match=message):
        block_conv(x, w, **(case.attributes | change))  # type: ignore[arg-type]


def test_operands_that_do_not_fit() -> None:
    case = CASES["plain"]
    x, w = block(spread(case.x, 1), 8, "default", 1, 3), block(spread(case.w, 2), 8, "default", 1, 3)
    with pytest.raises(ValueError, match="bias of shape"):
        block_conv(x, w, np.zeros(1, np.float32), **case.attributes)
    with pytest.raises(ValueError, match="gradient of shape"):
        block_conv_weight_grad(x, x, w_shape=case.w, **case.attributes)
    with pytest.raises(ValueError, match="gradient of shape"):
        block_conv_local_grad(x, w, x_shape=case.x, **case.attributes)
