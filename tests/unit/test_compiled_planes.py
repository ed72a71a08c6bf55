"""Kernels that read mantissas and exponents from bits, against the definition of a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")

from flexc.numerics.compiled.contraction import contract_further, panel_width
from flexc.numerics.compiled.depthwise import add_tap_products
from flexc.numerics.compiled.planes import BoxRows, Planes, dequantize_panels, dequantize_rows

TAPS, COLUMNS, LENGTH = 3, 5, 7
BOUNDS = (3, LENGTH)
EXPONENTS = (1, 200)


def packed(mantissa: NDArray[np.int64], bits: int, gap_bits: int) -> NDArray[np.uint8]:
    """Mantissas [count] one after the other from bit ``gap_bits`` on."""
    count = mantissa.size
    places = gap_bits + bits * np.arange(count)
    stream = np.zeros(-(-(gap_bits + bits * count) // 8) * 8, np.uint8)
    for bit in range(bits):
        stream[places + bit] = mantissa >> bit & 1
    return np.packbits(stream, bitorder="little")


def planes(bits: int, gap_bits: int) -> tuple[Planes, NDArray[np.float64]]:
    """Planes [columns, taps, length], an exponent for each piece of a row, and the values."""
    random = np.random.default_rng(bits)
    largest = (1 << (bits - 1)) - 1
    mantissa = random.integers(-largest, largest + 1, (COLUMNS, TAPS, LENGTH))
    exponent = random.integers(EXPONENTS[0], EXPONENTS[1] + 1, (COLUMNS, TAPS, len(BOUNDS)))
    exponent[0, 0], exponent[1, 1] = EXPONENTS
    exponent[2, 2, 0] = 0
    mantissa[2, 2, : BOUNDS[0]] = 0
    pieces = np.searchsorted(BOUNDS, np.arange(LENGTH), side="right")
    values = np.ldexp(mantissa.astype(np.float64), exponent[..., pieces] - 127 - (bits - 2))
    flat = packed(mantissa.reshape(-1), bits, gap_bits)
    return Planes(flat, gap_bits, bits, exponent.astype(np.uint8).reshape(-1), 0), values


def rows_of_taps(bits: int) -> BoxRows:
    """Rows [taps, columns] of ``planes``."""
    row, pieces = bits * LENGTH, 8 * len(BOUNDS)
    walk = [[TAPS, COLUMNS], [row, TAPS * row], [pieces, TAPS * pieces], [0, 0]]
    table = np.repeat([0, 8], [BOUNDS[0], LENGTH - BOUNDS[0]])
    return BoxRows(np.array(walk, np.int64), bits, table.astype(np.int64), np.array(BOUNDS, np.int64))


@pytest.mark.parametrize(("bits", "gap_bits"), [(4, 0), (4, 4), (8, 0), (8, 8), (16, 0), (16, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows(bits: int, gap_bits: int, dtype: Any) -> None:
    given, values = planes(bits, gap_bits)
    found, exponents = dequantize_rows(given, rows_of_taps(bits), dtype)
    assert exponents == EXPONENTS
    assert found.dtype == dtype
    assert np.array_equal(found.reshape(TAPS, COLUMNS, LENGTH), values.transpose(1, 0, 2))


def test_rows_whose_elements_are_apart() -> None:
    given, values = planes(8, 0)
    row = 8 * LENGTH
    table = 8 * len(BOUNDS) * TAPS * np.arange(COLUMNS, dtype=np.int64)
    walk = np.array([[TAPS, LENGTH], [row, 8], [8 * len(BOUNDS), 0], [0, 0]], np.int64)
    # Along a row the columns; of each the first piece's exponent alone is right.
    box = BoxRows(walk, TAPS * row, table, np.arange(1, COLUMNS + 1, dtype=np.int64))
    found, _ = dequantize_rows(given, box, np.float32)
    expected = values.transpose(1, 2, 0)[:, : BOUNDS[0]]
    assert np.array_equal(found.reshape(TAPS, LENGTH, COLUMNS)[:, : BOUNDS[0]], expected)


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("width", [2, COLUMNS])
def test_panels(bits: int, width: int) -> None:
    given, values = planes(bits, 0)
    panels, exponents = dequantize_panels(given, rows_of_taps(bits), TAPS, COLUMNS, width)
    assert exponents == EXPONENTS
    depth = [
        values[:, tap, k]
        for first, end in ((0, BOUNDS[0]), BOUNDS)
        for tap in range(TAPS)
        for k in range(first, end)
    ]
    padded = np.zeros((TAPS * LENGTH, panels.shape[1] * width))
    padded[:, :COLUMNS] = depth
    assert np.array_equal(panels[0], padded.reshape(TAPS * LENGTH, -1, width).swapaxes(0, 1))


def test_no_exponents_above_zero() -> None:
    zeros = Planes(np.zeros(TAPS * COLUMNS * LENGTH, np.uint8), 0, 8, np.zeros(64, np.uint8), 0)
    assert dequantize_rows(zeros, rows_of_taps(8), np.float32)[1] == (256, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_contraction_goes_on_from_what_is_there(dtype: Any) -> None:
    random = np.random.default_rng(0)
    width = panel_width(np.dtype(dtype))
    rows, outputs, segments = 11, width + 3, ((0, 4), (6, 2))
    left = random.integers(-8, 9, 40).astype(dtype)
    starts = random.integers(0, 30, rows)
    columns = random.integers(-8, 9, (6, 2 * width)).astype(np.float32)
    columns[:, outputs:] = 0
    panels = np.ascontiguousarray(columns.reshape(6, 2, width).swapaxes(0, 1))
    before = random.standard_normal((rows, outputs)).astype(np.float32)
    y = before.copy()
    first, lengths = np.array(segments).T.copy()
    contract_further(left, starts, first, lengths, panels.reshape(-1), y)
    expected, depth = before, 0
    for at, length in segments:
        taken = np.stack([left[start + at : start + at + length] for start in starts])
        expected = expected + (taken @ columns[depth : depth + length, :outputs]).astype(np.float32)
        depth += length
    assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("column_step", "outputs"), [(3, 1), (6, 1), (3, 2)])
def test_products_of_taps_in_order(column_step: int, outputs: int) -> None:
    random = np.random.default_rng(column_step)
    blocks, lines, columns, channels, taps = 2, 3, 4, 3, 5
    x = random.standard_normal(200).astype(np.float32)
    weights = random.standard_normal((taps, outputs, channels)).astype(np.float32)
    line_starts, tap_starts = random.integers(0, 60, lines), random.integers(0, 40, taps)
    x_blocks, tap_blocks = np.array([0, 50]), np.zeros(blocks, np.int64)
    y = random.standard_normal((blocks, lines, columns, outputs, channels)).astype(np.float32)
    expected = y.copy()
    for block, line, column in np.ndindex(blocks, lines, columns):
        for tap in range(taps):
            at = x_blocks[block] + line_starts[line] + tap_starts[tap] + column * column_step
            expected[block, line, column] += x[at : at + channels] * weights[tap]
    add_tap_products(
        y.reshape(-1),
        x,
        weights.reshape(-1),
        (x_blocks, tap_blocks),
        line_starts,
        tap_starts,
        columns=columns,
        column_step=column_step,
        outputs=outputs,
        channels=channels,
    )
    assert y.tobytes() == expected.tobytes()
