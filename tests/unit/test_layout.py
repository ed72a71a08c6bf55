"""Layouts in DRAM, and the placements that say them."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import TensorType, f32
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError

from flexc.backends.stream.emit_data import pack_plane
from flexc.ir import bfp
from flexc.ir.placement import Group, GroupAttr, Placement, PlacementAttr, Plane, PlaneFormat
from flexc.ir.program import make_context
from flexc.passes.scheduling.layout import (
    block_placement,
    channels_last_order,
    fp10_placement,
    is_channels_last,
    is_natural,
    natural_order,
    pack,
    plain_placement,
    storage_order,
    stored_as_fp10,
)
from tests.lightnorm_graphs import norm_with_reader

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)
formats = st.sampled_from(["f32", "m8", "m16", "i64", "i1"])


def addresses(plane: Plane, shape: tuple[int, ...]) -> list[int]:
    """The bit addresses of all elements."""
    return [
        sum(stride * i for stride, i in zip(plane.strides_bits, index, strict=True))
        for index in itertools.product(*(range(extent) for extent in shape))
    ]


@given(shapes, formats, st.data())
def test_elements_of_a_plane_do_not_meet(
    shape: tuple[int, ...], fmt: PlaneFormat, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    rows = data.draw(st.integers(0, len(shape)))
    plane = pack(shape, order, fmt, vector_dims=1, row_dims=rows)
    found = sorted(addresses(plane, shape))
    assert all(later - earlier >= plane.bits for earlier, later in itertools.pairwise(found))
    assert found[-1] + plane.bits <= 8 * plane.size_bytes


@given(shapes, st.data())
def test_storage_order_is_the_order_of_packing(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    found = storage_order(pack(shape, order, "f32"), shape)
    moving = [dim for dim in order if shape[dim] > 1]
    assert [dim for dim in found if shape[dim] > 1] == moving
    assert sorted(found) == list(range(len(shape)))


def test_pixels_are_padded_to_bytes_and_rows_to_lines() -> None:
    block = bfp.block_tensor((2, 5, 3, 4), 4, (1, 3, 1, 1))
    mantissa, exponent = block_placement(block, "image").planes
    assert mantissa.strides_bits == (3 * 512, 4, 512, 24)
    assert mantissa.size_bytes == 2 * 3 * 64
    assert exponent.strides_bits == (3 * 4 * 2 * 8, 8, 4 * 2 * 8, 16)
    assert exponent.size_bytes == 2 * 3 * 4 * 2


@pytest.mark.parametrize(
    ("role", "innermost"), [("image", 1), ("kernel", 1), ("window_kernel", 0), ("left", 3), ("right", 2)]
)
def test_the_grouped_dimension_is_innermost(role: str, innermost: int) -> None:
    block = bfp.block_tensor((3, 4, 5, 6), 8, (1, 1, 1, 1))
    for plane in block_placement(block, role).planes:  # type: ignore[arg-type]
        assert plane.strides_bits[innermost] == min(plane.strides_bits) == 8


def test_ten_bit_pixels_start_on_bytes() -> None:
    (plane,) = fp10_placement((1, 5, 2, 2)).planes
    assert plane.strides_bits == (4 * 56, 10, 2 * 56, 56)
    assert plane.size_bytes == 4 * 7


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 5), (2, 3, 7)])
def test_channels_last(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    image = plain_placement(TensorType(f32, shape), channels_last_order(rank))
    row_major = plain_placement(TensorType(f32, shape), natural_order(rank))
    assert is_channels_last(image, shape)
    assert not is_natural(image, shape)
    assert is_natural(row_major, shape)
    assert not is_channels_last(row_major, shape)


def test_one_pixel_is_natural_either_way() -> None:
    shape = (2, 9, 1, 1)
    assert is_natural(plain_placement(TensorType(f32, shape), channels_last_order(4)), shape)


@pytest.mark.parametrize(
    ("reader", "fp10"),
    [
        ("relu", True),
        ("slice from 4", True),
        ("slice from 3", False),
        ("slice by -1", False),
        ("gather", False),
        ("pad by 1", False),
    ],
)
def test_ten_bits_unless_a_reader_splits_runs(reader: str, fp10: bool) -> None:
    assert stored_as_fp10(norm_with_reader(reader)) == fp10


@pytest.mark.parametrize(
    ("activation", "parameters", "fp10"),
    [
        ("none", (), True),
        ("relu", (), True),
        ("clip", (0.0, 6.0), True),
        ("clip", (0.0, 6.1), False),
        ("hard_swish", (), False),
    ],
)
def test_ten_bits_hold_some_activations(activation: str, parameters: tuple[float, ...], fp10: bool) -> None:
    value = norm_with_reader("relu", activation, parameters)
    assert stored_as_fp10(value) == fp10


@pytest.mark.parametrize(
    "text",
    [
        "#flexblock.placement<f32 size 24 strides [96, 32]>",
        "#flexblock.placement<m4 at 4096 size 640 strides [512, 4], e8 at 4736 size 64 strides [8, 8]>",
        "#flexblock.placement<i64 at 0 size 8 strides []>",
        "#flexblock.group<3, contraction>",
    ],
)
def test_attributes_parse_back(text: str) -> None:
    assert str(Parser(make_context(), text).parse_attribute()) == text


@pytest.mark.parametrize(
    "text",
    [
        "#flexblock.placement<f16 size 24 strides [32]>",
        "#flexblock.placement<m4 size 1 strides [], e8 size 1 strides [], e8 size 1 strides []>",
        "#flexblock.group<3, pooling>",
        "#flexblock.group<-1, row>",
    ],
)
def test_attributes_that_do_not_parse(text: str) -> None:
    with pytest.raises(ParseError):
        Parser(make_context(), text).parse_attribute()


def test_attributes_stand_for_their_data() -> None:
    plane = Plane("m8", 10, (80, 8), 64)
    assert PlacementAttr(Placement((plane,))).data.size_bytes == 10
    assert plane.at(128) == Plane("m8", 10, (80, 8), 128)
    assert str(GroupAttr(Group(0, "row"))) == "#flexblock.group<0, row>"


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), st.data())
def test_packed_nibbles_come_low_half_first(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    values = np.random.default_rng(0).integers(-7, 8, shape).astype(np.int8)
    plane = pack(shape, order, "m4", vector_dims=1)
    content = pack_plane(values, plane)
    for index, bit in zip(np.ndindex(shape), addresses(plane, shape), strict=True):
        nibble = int(content[bit // 8]) >> bit % 8 & 15
        assert (nibble ^ 8) - 8 == values[index]


@given(shapes, formats, st.data())
def test_packed_bytes(shape: tuple[int, ...], fmt: PlaneFormat, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    values = np.arange(prod(shape)).reshape(shape)
    if fmt in ("m8", "i1"):
        values = values % 2
    plane = pack(shape, order, fmt, vector_dims=1, row_dims=len(shape))
    content = pack_plane(values.astype(np.float32 if fmt == "f32" else np.int64), plane)
    dtype = {"f32": "<f4", "m8": "i1", "m16": "<i2", "i64": "<i8", "i1": "i1"}[fmt]
    for index, bit in zip(np.ndindex(shape), addresses(plane, shape), strict=True):
        found = content[bit // 8 : bit // 8 + plane.bits // 8].view(dtype)[0]
        assert found == values[index]
