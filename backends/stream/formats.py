"""Storage formats: NumPy types of whole-byte elements, packing of the others (see ``isa``, packing)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import FORMAT_BITS, Format
from flexc.numerics.acceleration import use_compiled
from flexc.numerics.fp10_codes import pack_fp10, unpack_fp10

Bytes = NDArray[np.uint8]

WHOLE_BYTE_TYPES: dict[Format, np.dtype[Any]] = {
    Format.F32: np.dtype("<f4"),
    Format.M8: np.dtype("i1"),
    Format.M16: np.dtype("<i2"),
    Format.E8: np.dtype("u1"),
    Format.I64: np.dtype("<i8"),
    Format.I32: np.dtype("<i4"),
    Format.I1: np.dtype("bool"),
}
"""The other formats are packed."""


def _fp10_values() -> NDArray[np.float32]:
    """The value of each code; NaN for codes that no value has."""
    values = np.full(1024, np.nan, np.float32)
    for code in range(1024):
        with suppress(ValueError):
            values[code] = unpack_fp10(np.array([code], np.uint16))[0]
    return values


_FP10_VALUES = _fp10_values()


def unpack(run: Bytes, count: int, fmt: Format) -> NDArray[Any]:
    """``count`` elements from runs of packed bytes [..., bytes]: int8 mantissas, or fp32 for fp10.

    Raises StreamFault for a code of fp10 that no value has.
    """
    if fmt is Format.M4:
        both = np.empty((*run.shape, 2), np.int8)
        np.left_shift(run, 4, out=both[..., 0].view(np.uint8))
        both[..., 0] >>= 4
        np.right_shift(run.view(np.int8), 4, out=both[..., 1])
        return both.reshape(*run.shape[:-1], -1)[..., :count]
    if use_compiled():
        from flexc.numerics.compiled import fp10

        runs = np.ascontiguousarray(run).reshape(-1, run.shape[-1])
        values = fp10.unpack_runs(runs, count)
        if values is None:
            raise StreamFault("reads a code that no fp10 value has")
        return values.reshape(*run.shape[:-1], count)
    fives = -(-count // 4)
    if run.shape[-1] < 5 * fives:
        run = np.pad(run, [(0, 0)] * (run.ndim - 1) + [(0, 5 * fives - run.shape[-1])])
    b = run.reshape(*run.shape[:-1], fives, 5).astype(np.uint16)
    codes = np.empty((*b.shape[:-1], 4), np.uint16)
    for i in range(4):
        codes[..., i] = (b[..., i] >> (2 * i) | b[..., i + 1] << (8 - 2 * i)) & 1023
    values = _FP10_VALUES[codes.reshape(*run.shape[:-1], -1)[..., :count]]
    if np.isnan(values).any():
        raise StreamFault("reads a code that no fp10 value has")
    return values


def pack(values: NDArray[Any], fmt: Format) -> Bytes:
    """Elements [..., count] as runs of packed bytes, the bits past the last element zero.

    Raises StreamFault when an fp32 value is not one of fp10's.
    """
    count = values.shape[-1]
    if fmt is Format.M4:
        nibbles = values.view(np.uint8) & 15
        if count % 2:
            nibbles = np.concatenate([nibbles, np.zeros_like(nibbles[..., :1])], axis=-1)
        return np.asarray(nibbles[..., 0::2] | nibbles[..., 1::2] << 4, np.uint8)
    if use_compiled():
        from flexc.numerics.compiled import fp10

        packed = fp10.pack_runs(np.ascontiguousarray(values).reshape(-1, count))
        if packed is not None:
            return packed.reshape(*values.shape[:-1], -1)
    try:
        codes = pack_fp10(np.ascontiguousarray(values))
    except ValueError as error:
        raise StreamFault(str(error)) from error
    if count % 4:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], -count % 4), np.uint16)], axis=-1)
    c = codes.reshape(*codes.shape[:-1], -1, 4)
    run = np.empty((*c.shape[:-1], 5), np.uint8)
    run[..., 0] = c[..., 0] & 255
    for i in range(1, 4):
        run[..., i] = (c[..., i - 1] >> (10 - 2 * i) | c[..., i] << (2 * i)) & 255
    run[..., 4] = c[..., 3] >> 2
    return run.reshape(*codes.shape[:-1], -1)[..., : -(-count * FORMAT_BITS[fmt] // 8)]
