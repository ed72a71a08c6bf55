"""LightNorm's normalization to nearest, in pieces of channels-last memory (specification, section 5).

The steps are those of :mod:`flexc.numerics.lightnorm`; these are the shorter ways to the same bits:

- FP10A keeps 5 of 24 significant bits. With p = x * (2^19 + 1), the fp32 difference p - (p - x) is x rounded
  to nearest, ties to even (Veltkamp's splitting; a test goes through all significands). Elements at the ends
  of the exponent range are few, and set right one by one. A zero may have either sign until the end, and be
  subnormal: neither reaches the fp32 sum with beta in a place that its own rounding to FP10A keeps.
- Truncating a group against its second largest exponent e2 clears all places below 2^(e2 - 6). FP10A has no
  such places in an element of exponent e2 - 2 or more, so the largest needs no exception.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.aligned import aligned_empty
from flexc.numerics.minifloat import FORWARD_BITS, FP10A

_FRACTION_BITS = 23
_PIECE_ELEMENTS = 49152
_LINE_ELEMENTS = 4096
_SPLITTER = np.float32((1 << (_FRACTION_BITS - FP10A.fraction_bits)) + 1)
_LEAST_FIELD = FP10A.least_exponent + 127
_LARGEST_FIELD = FP10A.largest_exponent + 127
_LEAST = np.float32(2.0**FP10A.least_exponent)
_LARGEST = np.float32((2 - 2.0**-FP10A.fraction_bits) * 2.0**FP10A.largest_exponent)
# Exponents this far below the second largest lose nothing: 2^(e2 - 6) is no more than their last place.
_KEPT_WHOLE = FORWARD_BITS - 1 - FP10A.fraction_bits


def _plane_elements(elements: int) -> int:
    """Enough for every plane to start on a cache line."""
    return -(-elements // 64) * 64


def scratch_bytes(elements: int) -> int:
    """The memory of a :class:`Normalizer`: four planes of words and seven of bytes."""
    return 23 * _plane_elements(elements)


class Normalizer:
    """Scratch memory for pieces of one shape, and the steps on it; the last axis holds whole groups."""

    def __init__(self, memory: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        """``memory`` is aligned, and of :func:`scratch_bytes` for the elements of ``shape`` or more."""
        elements = shape[0] * shape[1]
        stride = _plane_elements(elements)
        words = memory[: 16 * stride].view(np.float32).reshape(4, stride)[:, :elements]
        planes = memory[16 * stride : 23 * stride].reshape(7, stride)[:, :elements]
        self._value, self._product, self._rounded = (plane.reshape(shape) for plane in words[:3])
        self._words = words[3].view(np.uint32).reshape(shape)
        self._exponent, self._second, self._low, self._shifted = (
            plane.reshape(shape) for plane in planes[:4]
        )
        self._small = planes[4].view(np.bool_).reshape(shape)
        # Planes, since NumPy's maximum with a byte for an operand is ten times as slow.
        self._least_field, self._kept_whole = (plane.reshape(shape) for plane in planes[5:])
        self._least_field.fill(_LEAST_FIELD)
        self._kept_whole.fill(_KEPT_WHOLE)

    def run(self, x: NDArray[np.float32], constants: NDArray[np.float32], y: NDArray[np.float32]) -> bool:
        """Normalize x into y; False, and y undefined, where a value is not finite.

        ``constants`` [4, length] are mean, scale, gamma and beta along the last axis.
        """
        mean, scale, gamma, beta = constants
        value, rounded = self._value, self._rounded
        if not self._round(x):
            return False
        self._truncate(rounded)
        np.subtract(rounded, mean, out=value)
        np.multiply(value, scale, out=value)
        if not self._round(value):
            return False
        np.multiply(rounded, gamma, out=value)
        np.add(value, beta, out=value)
        if not self._round(value):
            return False
        self._truncate(y)
        return True

    def _round(self, x: NDArray[np.float32]) -> bool:
        """FP10A(x) and its exponent fields; False where x is not finite."""
        product, rounded, words = self._product, self._rounded, self._words
        exponent, less_one = self._exponent, self._shifted
        np.multiply(x, _SPLITTER, out=product)
        np.subtract(product, x, out=rounded)
        np.subtract(product, rounded, out=rounded)
        np.right_shift(rounded.view(np.uint32), np.uint32(_FRACTION_BITS), out=words)
        # The cast drops the ninth bit, the sign.
        np.copyto(exponent, words, casting="unsafe")

        # The field of a zero wraps to 255: zeros are as they should be.
        np.subtract(exponent, np.uint8(1), out=less_one)
        at = np.flatnonzero(np.less(less_one, np.uint8(_LEAST_FIELD), out=self._small))
        if at.size:
            below = at[np.abs(x.reshape(-1)[at]) < _LEAST]
            rounded.reshape(-1)[below] = 0
            exponent.reshape(-1)[below] = 0
        if exponent.max() > _LARGEST_FIELD:
            at = np.flatnonzero(exponent > _LARGEST_FIELD)
            above = x.reshape(-1)[at]
            if not np.isfinite(above).all():
                return False
            rounded.reshape(-1)[at] = np.copysign(_LARGEST, above)
            exponent.reshape(-1)[at] = _LARGEST_FIELD
        return True

    def _truncate(self, result: NDArray[np.float32]) -> None:
        """bfp10 of the rounded values, by their exponent fields, into ``result``."""
        exponent, second, low, shifted = self._exponent, self._second, self._low, self._shifted
        words = self._words
        # The four bytes of a group are one word: halves are compared first, then bytes, so that byte 0 of
        # ``second`` becomes the larger of the two losers' best and the final's loser.
        as_word = shifted.view(np.uint32)
        np.right_shift(exponent.view(np.uint32), np.uint32(16), out=as_word)
        np.maximum(exponent, shifted, out=second)
        np.minimum(exponent, shifted, out=low)
        np.right_shift(second.view(np.uint32), np.uint32(8), out=as_word)
        np.minimum(second, shifted, out=second)
        np.right_shift(low.view(np.uint32), np.uint32(8), out=as_word)
        np.maximum(low, shifted, out=low)
        np.maximum(second, low, out=second)
        group = second.view(np.uint32)
        np.bitwise_and(group, np.uint32(0xFF), out=group)
        np.multiply(group, np.uint32(0x01010101), out=group)

        # The places to clear: those FP10A has not, and one more for each exponent below e2 - 2. An e2 of 0
        # counts as the least field, which touches no element but those of field 0, and clears them.
        np.maximum(second, self._least_field, out=second)
        np.maximum(second, exponent, out=second)
        np.subtract(second, exponent, out=second)
        np.maximum(second, self._kept_whole, out=second)
        np.add(second, np.uint8(_FRACTION_BITS - FP10A.fraction_bits - _KEPT_WHOLE), out=second)
        # From 24 on the exponent and the sign go too; bit 3, doubled, makes 24 to 31 reach 32, past the mask.
        np.bitwise_and(group, np.uint32(0x08080808), out=as_word)
        np.add(second, shifted, out=second)
        np.copyto(words, second)
        np.left_shift(np.uint32(0xFFFFFFFF), words, out=words)
        np.bitwise_and(words, self._rounded.view(np.uint32), out=result.view(np.uint32))


def normalize_channels_last(
    x: NDArray[np.float32], constants: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32] | None:
    """Steps 1, 4 and 5 of x [..., C], contiguous, C a multiple of 4; None where a value is not finite.

    ``constants`` are mean, scale, gamma (quantized) and beta [C].
    """
    channels = x.shape[-1]
    repeats = max(1, _LINE_ELEMENTS // channels)
    length = channels * repeats
    repeated = aligned_empty((len(constants), repeats, channels), np.float32)
    for line, constant in zip(repeated, constants, strict=True):
        line[...] = constant
    repeated = repeated.reshape(len(constants), length)
    y = aligned_empty((x.size,), np.float32)
    flat = x.reshape(-1)
    lines, tail = divmod(x.size, length)
    step = min(max(1, _PIECE_ELEMENTS // length), lines)
    memory = aligned_empty((scratch_bytes(max(step * length, tail)),), np.uint8)
    pieces = [(start, min(start + step, lines)) for start in range(0, lines, max(step, 1))]
    shapes = [(start * length, (stop - start, length)) for start, stop in pieces]
    if tail:
        shapes.append((lines * length, (1, tail)))
    normalizer, shape_before = None, (0, 0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start, shape in shapes:
            if normalizer is None or shape != shape_before:
                normalizer, shape_before = Normalizer(memory, shape), shape
            piece = slice(start, start + shape[0] * shape[1])
            if not normalizer.run(
                flat[piece].reshape(shape), repeated[:, : shape[1]], y[piece].reshape(shape)
            ):
                return None
    return y.reshape(x.shape)
