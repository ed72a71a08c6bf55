"""LightNorm inference, four channels at a time in one pass (numerics specification, section 5).

A tensor is contiguous and seen as runs of groups. Channels last (``interleaved``), the four members of a
group are neighbours, and a run takes several positions, whose constants are repeated. Channels first, the
members of the groups of a run are four lines, and a run has the constants of one group.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.compiled.jit import UINT, bits_of, fp32_of, kernel, part
from flexc.numerics.errors import require_finite
from flexc.numerics.lightnorm_affine import AffineConstants
from flexc.numerics.lightnorm_groups import CHANNELS_PER_GROUP, GroupLayout

F32 = np.float32
I32 = np.int32
_FEWEST_GROUPS = 512
_INFINITY = 0x7F800000
_EXPONENT = I32(_INFINITY)
# FP10A: its ends, the constant that splits off its 4 fraction bits, and the mask of what truncation keeps.
_LEAST = F32(2.0**-14)
_LARGEST = F32(63488)
_SPLITTER = F32((1 << 19) + 1)
_KEPT = I32(-1 << 19)
# The exponents of 2^6 (ten-bit blocks have 7 bits forward) and of a product of inverses, in place.
_SIX = I32(6 << 23)
_BOTH = I32(254 << 23)


def normalize(
    x: NDArray[np.float32], layout: GroupLayout, constants: AffineConstants, nearest: bool, op: str
) -> NDArray[np.float32]:
    """What :func:`flexc.numerics.lightnorm_normalize` computes, for constants that stay finite.

    Raises NonFiniteError, AssertionError unless the channels are a multiple of 4.
    """
    assert layout.channels % CHANNELS_PER_GROUP == 0
    y = layout.empty()
    source = np.ascontiguousarray(layout.view(np.asarray(x, np.float32))).reshape(-1)
    count, repeats = layout.inner, 1
    if layout.channels_last:
        repeats = max(1, min(layout.positions, _FEWEST_GROUPS // layout.groups))
        count = repeats * layout.groups
    vectors = np.stack((constants.mean, constants.scale, constants.gamma_q, constants.beta))
    planes = vectors.reshape(4, layout.groups, CHANNELS_PER_GROUP).swapaxes(1, 2)
    spread = np.tile(planes, repeats).reshape(4, -1)
    largest = _inference(layout.channels_last, nearest)(source, layout.view(y).reshape(-1), *spread, count)
    if largest >= _INFINITY:
        require_finite(x, op, "x")
    return y


@part
def _magnitude_bits(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Bits of the largest magnitude; those of a NaN are larger than any others."""
    return max(max(bits_of(abs(a)), bits_of(abs(b))), max(bits_of(abs(c)), bits_of(abs(d))))


@part
def _unit_bits(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Bits of the unit whose multiples a group of FP10A values is truncated to."""
    a, b, c, d = abs(a), abs(b), abs(c), abs(d)
    second = max(min(max(a, b), max(c, d)), max(min(a, b), min(c, d)))
    return I32(I32(bits_of(max(second, _LEAST)) & _EXPONENT) - _SIX)


@part
def _truncated(x: Any, unit_bits: Any) -> Any:
    # A negative zero becomes a positive one.
    return np.trunc(x * fp32_of(I32(_BOTH - unit_bits))) * fp32_of(unit_bits) + F32(0)


@part
def _fp10a(x: Any, nearest: Any) -> Any:
    x = min(max(x, -_LARGEST), _LARGEST)
    if nearest:
        product = x * _SPLITTER
        rounded = product - (product - x)
    else:
        rounded = fp32_of(I32(bits_of(x) & _KEPT))
    return rounded if abs(x) >= _LEAST else F32(0)


@part
def _affine(x: Any, mean: Any, scale: Any, gamma: Any, beta: Any, nearest: Any) -> Any:
    xhat = _fp10a((x - mean) * scale, nearest)
    return _fp10a(xhat * gamma + beta, nearest)


@cache
def _inference(interleaved: bool, nearest: bool) -> Any:
    """A kernel of flat x and y, planes of constants and the number of groups in a run.

    What it captures are constants, so compiled code is found again.
    """

    def infer(x: Any, y: Any, mean: Any, scale: Any, gamma: Any, beta: Any, count: Any) -> Any:
        largest = I32(0)
        groups = UINT(mean.size // 4)
        for run in range(-(-x.size // (4 * count))):
            xs = x[4 * count * run : 4 * count * (run + 1)]
            ys = y[4 * count * run : 4 * count * (run + 1)]
            length = xs.size // 4
            step = UINT(1) if interleaved else UINT(length)
            c0 = UINT(0) if interleaved else UINT(run) % groups
            for i in range(length):
                if interleaved:
                    c0 = UINT(i)
                i0 = UINT(4) * UINT(i) if interleaved else UINT(i)
                i1 = i0 + step
                i2 = i1 + step
                i3 = i2 + step
                c1 = c0 + groups
                c2 = c1 + groups
                c3 = c2 + groups
                largest = max(largest, _magnitude_bits(xs[i0], xs[i1], xs[i2], xs[i3]))
                x0, x1 = _fp10a(xs[i0], nearest), _fp10a(xs[i1], nearest)
                x2, x3 = _fp10a(xs[i2], nearest), _fp10a(xs[i3], nearest)
                unit = _unit_bits(x0, x1, x2, x3)
                y0 = _affine(_truncated(x0, unit), mean[c0], scale[c0], gamma[c0], beta[c0], nearest)
                y1 = _affine(_truncated(x1, unit), mean[c1], scale[c1], gamma[c1], beta[c1], nearest)
                y2 = _affine(_truncated(x2, unit), mean[c2], scale[c2], gamma[c2], beta[c2], nearest)
                y3 = _affine(_truncated(x3, unit), mean[c3], scale[c3], gamma[c3], beta[c3], nearest)
                unit = _unit_bits(y0, y1, y2, y3)
                ys[i0] = _truncated(y0, unit)
                ys[i1] = _truncated(y1, unit)
                ys[i2] = _truncated(y2, unit)
                ys[i3] = _truncated(y3, unit)
        return largest

    return kernel(infer)
