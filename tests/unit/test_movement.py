"""Kernels that only move: every bit arrives, whatever the type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexc.numerics import cast, concat, expand, gather, pad, reshape, strided_slice, transpose

SIGNALLING = np.array([0x7F800001, 0x80000000, 0xFFC00123, 1], np.uint32).view(np.float32)


def test_bits_survive() -> None:
    x = SIGNALLING.reshape(2, 2)
    words = x.view(np.uint32)
    assert (transpose(x, permutation=(1, 0)).view(np.uint32) == words.T).all()
    assert (concat(x, x, axis=0).view(np.uint32) == np.concatenate([words, words])).all()
    assert (gather(x, np.array([1, 0]), axis=1).view(np.uint32) == words[:, ::-1]).all()
    assert (np.ascontiguousarray(pad(x, pads=(0, 1, 0, 0))[:, 1:]).view(np.uint32) == words).all()
    assert np.ascontiguousarray(expand(x, shape=(3, 1, 1))).view(np.uint32)[2].tolist() == words.tolist()


def test_reshape_is_row_major_whatever_the_memory() -> None:
    x = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert reshape(x, shape=(3, -1)).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="reshape"):
        reshape(x, shape=(4, 2))


def test_slices_run_either_way() -> None:
    x = np.arange(20).reshape(4, 5)
    assert strided_slice(x, starts=(3, 0), sizes=(4, 3), steps=(-1, 2)).tolist() == x[::-1, ::2].tolist()
    assert strided_slice(x, starts=(1, 4), sizes=(2, 2), steps=(1, -3)).tolist() == [[9, 6], [14, 11]]
    assert strided_slice(x, starts=(4, 0), sizes=(0, 5), steps=(1, 1)).shape == (0, 5)
    with pytest.raises(IndexError, match="dimension 1 runs from 3 to 5"):
        strided_slice(x, starts=(0, 3), sizes=(1, 2), steps=(1, 2))
    with pytest.raises(IndexError, match="dimension 0 runs from 1 to -1"):
        strided_slice(x, starts=(1, 0), sizes=(3, 1), steps=(-1, 1))
    with pytest.raises(ValueError, match="rank 2"):
        strided_slice(x, starts=(0,), sizes=(1,), steps=(1,))


def test_gather_puts_the_indices_in_the_place_of_the_axis() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    indices = np.array([[0, -1], [2, 1]])
    y = gather(x, indices, axis=1)
    assert y.shape == (2, 2, 2, 4)
    assert (y[:, 0, 1] == x[:, 2]).all()
    with pytest.raises(IndexError):
        gather(x, np.array([3]), axis=1)


def test_pads_add_and_cut() -> None:
    x = np.arange(1, 5, dtype=np.float32)
    assert pad(x, pads=(1, -2), value=9.0).tolist() == [9, 1, 2]
    assert pad(x, pads=(2, 1), mode="reflect").tolist() == [3, 2, 1, 2, 3, 4, 3]
    assert pad(x, pads=(1, 2), mode="edge").tolist() == [1, 1, 2, 3, 4, 4, 4]
    assert pad(x, pads=(1, 1), mode="wrap").tolist() == [4, 1, 2, 3, 4, 1]
    with pytest.raises(ValueError, match="1 pads"):
        pad(x, pads=(1,))


def test_expand_broadcasts_both_ways() -> None:
    x = np.arange(3).reshape(3, 1)
    assert expand(x, shape=(2, 1, 4)).shape == (2, 3, 4)
    assert expand(x, shape=(1,)).shape == (3, 1)
    with pytest.raises(ValueError, match="broadcast"):
        expand(x, shape=(2, 2))


@pytest.mark.parametrize(
    ("value", "to", "expected"),
    [
        (2.9, np.int32, 2),
        (-2.9, np.int64, -2),
        (1e20, np.int64, 2**63 - 1),
        (-1e20, np.int64, -(2**63)),
        (2.0**63, np.int64, 2**63 - 1),
        (np.inf, np.int32, 2**31 - 1),
        (-np.inf, np.int8, -128),
        (-5.0, np.uint8, 0),
        (np.nan, np.int32, 0),
        (np.nan, np.bool_, True),
        (-0.0, np.bool_, False),
        (16777217, np.float32, 16777216.0),
        (1e300, np.float32, np.inf),
        (300, np.uint8, 44),
        (True, np.float32, 1.0),
    ],
)
def test_casts(value: Any, to: Any, expected: Any) -> None:
    result = cast(np.array([value]), to=to)
    assert result.dtype == to
    assert result[0] == expected


def test_channels_last_memory_stays() -> None:
    x = np.moveaxis(np.arange(120).reshape(2, 4, 5, 3), -1, 1)
    dense = np.ascontiguousarray(x)
    for y, plain in (
        (gather(x, np.array([3, 0]), axis=-2), gather(dense, np.array([3, 0]), axis=2)),
        (pad(x, pads=(0, 1, 2, 3, 0, 1, -1, 0)), pad(dense, pads=(0, 1, 2, 3, 0, 1, -1, 0))),
    ):
        assert (y == plain).all()
        assert np.moveaxis(y, 1, -1).flags.c_contiguous
