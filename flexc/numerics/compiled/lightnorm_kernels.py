"""LightNorm's passes over a tensor, four channels at a time (numerics specification, section 5).

A tensor is contiguous and seen as runs of groups. Channels last (``interleaved``), the four members of a
group are neighbours, and a run takes several positions, whose constants are repeated. Channels first, the
members of the groups of a run are four lines, and a run has the constants of one group.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from flexc.numerics.compiled.jit import UINT, bits_of, fp32_of, kernel, part
from flexc.numerics.minifloat import FP10A, FP10B

F32 = np.float32
I32 = np.int32
_EXPONENT = I32(0x7F800000)
# FP10A and FP10B: the ends, the constants that split off fraction bits, the masks of what truncation keeps,
# and the exponents in place of 2^6 and 2^5, as ten-bit blocks have 7 bits forward and 6 backward.
_LEAST_A, _LEAST_B = F32(2.0**FP10A.least_exponent), F32(2.0**FP10B.least_exponent)
_LARGEST_A, _LARGEST_B = F32(FP10A.largest), F32(FP10B.largest)
_SPLITTER_A, _SPLITTER_B = F32((1 << 19) + 1), F32((1 << 20) + 1)
_KEPT_A, _KEPT_B = I32(-1 << 19), I32(-1 << 20)
_BELOW_A, _BELOW_B = I32(6 << 23), I32(5 << 23)
# The exponent in place of a product of inverses.
_BOTH = I32(254 << 23)


@part
def _magnitude_bits(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Bits of the largest magnitude; those of a NaN are larger than any others."""
    return max(max(bits_of(abs(a)), bits_of(abs(b))), max(bits_of(abs(c)), bits_of(abs(d))))


@part
def _unit_bits(a: Any, b: Any, c: Any, d: Any, least: Any, below: Any) -> Any:
    """Bits of the unit whose multiples a group of minifloats from ``least`` on is truncated to."""
    a, b, c, d = abs(a), abs(b), abs(c), abs(d)
    second = max(min(max(a, b), max(c, d)), max(min(a, b), min(c, d)))
    return I32(I32(bits_of(max(second, least)) & _EXPONENT) - below)


@part
def _truncated(x: Any, unit_bits: Any) -> Any:
    # A negative zero becomes a positive one.
    return np.trunc(x * fp32_of(I32(_BOTH - unit_bits))) * fp32_of(unit_bits) + F32(0)


@part
def _rounded(x: Any, least: Any, largest: Any, splitter: Any, kept: Any, nearest: Any) -> Any:
    x = min(max(x, -largest), largest)
    if nearest:
        product = x * splitter
        rounded = product - (product - x)
    else:
        rounded = fp32_of(I32(bits_of(x) & kept))
    return rounded if abs(x) >= least else F32(0)


@part
def _fp10a(x: Any, nearest: Any) -> Any:
    return _rounded(x, _LEAST_A, _LARGEST_A, _SPLITTER_A, _KEPT_A, nearest)


@part
def _fp10b(x: Any, nearest: Any) -> Any:
    return _rounded(x, _LEAST_B, _LARGEST_B, _SPLITTER_B, _KEPT_B, nearest)


@cache
def affine_kernel(interleaved: bool, nearest: bool, keeps: bool) -> Any:
    """Steps 1, 4 and 5 of flat x: fills y, and xhat if it ``keeps`` it (any array does where it does not).

    Takes planes of constants and the number of groups in a run. Returns the bits of the largest magnitude.
    What it captures are constants, so compiled code is found again.
    """

    def affine(x: Any, y: Any, xhat: Any, mean: Any, scale: Any, gamma: Any, beta: Any, count: Any) -> Any:
        largest = I32(0)
        groups = UINT(mean.size // 4)
        for run in range(-(-x.size // (4 * count))):
            xs = x[4 * count * run : 4 * count * (run + 1)]
            ys = y[4 * count * run : 4 * count * (run + 1)]
            hs = xhat[4 * count * run : 4 * count * (run + 1)]
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
                unit = _unit_bits(x0, x1, x2, x3, _LEAST_A, _BELOW_A)
                h0 = _fp10a((_truncated(x0, unit) - mean[c0]) * scale[c0], nearest)
                h1 = _fp10a((_truncated(x1, unit) - mean[c1]) * scale[c1], nearest)
                h2 = _fp10a((_truncated(x2, unit) - mean[c2]) * scale[c2], nearest)
                h3 = _fp10a((_truncated(x3, unit) - mean[c3]) * scale[c3], nearest)
                if keeps:
                    hs[i0], hs[i1], hs[i2], hs[i3] = h0, h1, h2, h3
                y0 = _fp10a(h0 * gamma[c0] + beta[c0], nearest)
                y1 = _fp10a(h1 * gamma[c1] + beta[c1], nearest)
                y2 = _fp10a(h2 * gamma[c2] + beta[c2], nearest)
                y3 = _fp10a(h3 * gamma[c3] + beta[c3], nearest)
                unit = _unit_bits(y0, y1, y2, y3, _LEAST_A, _BELOW_A)
                ys[i0], ys[i1] = _truncated(y0, unit), _truncated(y1, unit)
                ys[i2], ys[i3] = _truncated(y2, unit), _truncated(y3, unit)
        return largest

    return kernel(affine)


@cache
def statistics_kernel(nearest: bool) -> Any:
    """Step 1 and the statistics of flat channels-last x, whose chunks are ``per_chunk`` values long.

    Updates, for each place [chunk, value of a run], the sum of all runs of the chunk, the extrema, and the
    first run of each. Returns the bits of the largest magnitude.
    """

    def statistics(
        x: Any, per_chunk: Any, length: Any, total: Any, high: Any, low: Any, first_high: Any, first_low: Any
    ) -> Any:
        magnitude = I32(0)
        quantized = np.empty(length, np.float32)
        for chunk in range(x.size // per_chunk):
            of_chunk = x[chunk * per_chunk : (chunk + 1) * per_chunk]
            for run in range(-(-per_chunk // length)):
                xs = of_chunk[run * length : (run + 1) * length]
                values = quantized[: xs.size]
                for i in range(xs.size // 4):
                    i0 = UINT(4) * UINT(i)
                    i1, i2, i3 = i0 + UINT(1), i0 + UINT(2), i0 + UINT(3)
                    magnitude = max(magnitude, _magnitude_bits(xs[i0], xs[i1], xs[i2], xs[i3]))
                    x0, x1 = _fp10a(xs[i0], nearest), _fp10a(xs[i1], nearest)
                    x2, x3 = _fp10a(xs[i2], nearest), _fp10a(xs[i3], nearest)
                    unit = _unit_bits(x0, x1, x2, x3, _LEAST_A, _BELOW_A)
                    values[i0], values[i1] = _truncated(x0, unit), _truncated(x1, unit)
                    values[i2], values[i3] = _truncated(x2, unit), _truncated(x3, unit)
                places = slice(chunk * length, chunk * length + xs.size)
                sums, highest, lowest = total[places], high[places], low[places]
                at_high, at_low = first_high[places], first_low[places]
                for i in range(values.size):
                    sums[i] += values[i]
                now = I32(run)
                for i in range(values.size):
                    above, below = values[i] > highest[i], values[i] < lowest[i]
                    at_high[i] = now if above else at_high[i]
                    highest[i] = values[i] if above else highest[i]
                    at_low[i] = now if below else at_low[i]
                    lowest[i] = values[i] if below else lowest[i]
        return magnitude

    return kernel(statistics)


@cache
def gradient_sums_kernel(nearest: bool) -> Any:
    """Step 1 backward of flat channels-last g: fills h, and adds h and h * xhat to their lanes.

    Lanes are as long as a run, which has as many positions as the vector unit has lanes. Returns the bits of
    the largest magnitude.
    """

    def gradient_sums(g: Any, xhat: Any, h: Any, of_h: Any, of_product: Any) -> Any:
        magnitude = I32(0)
        length = of_h.size
        for run in range(-(-g.size // length)):
            gs = g[run * length : (run + 1) * length]
            hs = h[run * length : (run + 1) * length]
            xs = xhat[run * length : (run + 1) * length]
            for i in range(gs.size // 4):
                i0 = UINT(4) * UINT(i)
                i1, i2, i3 = i0 + UINT(1), i0 + UINT(2), i0 + UINT(3)
                magnitude = max(magnitude, _magnitude_bits(gs[i0], gs[i1], gs[i2], gs[i3]))
                g0, g1 = _fp10b(gs[i0], nearest), _fp10b(gs[i1], nearest)
                g2, g3 = _fp10b(gs[i2], nearest), _fp10b(gs[i3], nearest)
                unit = _unit_bits(g0, g1, g2, g3, _LEAST_B, _BELOW_B)
                hs[i0], hs[i1] = _truncated(g0, unit), _truncated(g1, unit)
                hs[i2], hs[i3] = _truncated(g2, unit), _truncated(g3, unit)
            for i in range(hs.size):
                of_h[i] += hs[i]
                of_product[i] += hs[i] * xs[i]
        return magnitude

    return kernel(gradient_sums)


@kernel
def subtract_means(h: Any, mean: Any) -> None:
    """t = h - a of flat channels-last h, in place; ``mean`` is a for each value of a run."""
    for run in range(-(-h.size // mean.size)):
        hs = h[mean.size * run : mean.size * (run + 1)]
        for i in range(hs.size):
            hs[i] -= mean[i]


@cache
def gradient_kernel(nearest: bool) -> Any:
    """Step 3 backward, in place, from flat channels-last t on; ``scale`` are planes of a run's c."""

    def gradient(t: Any, scale: Any) -> None:
        count = UINT(scale.size // 4)
        for run in range(-(-t.size // scale.size)):
            ts = t[scale.size * run : scale.size * (run + 1)]
            for i in range(ts.size // 4):
                i0 = UINT(4) * UINT(i)
                i1, i2, i3 = i0 + UINT(1), i0 + UINT(2), i0 + UINT(3)
                c0 = UINT(i)
                c1 = c0 + count
                c2 = c1 + count
                c3 = c2 + count
                t0, t1 = _fp10b(ts[i0] * scale[c0], nearest), _fp10b(ts[i1] * scale[c1], nearest)
                t2, t3 = _fp10b(ts[i2] * scale[c2], nearest), _fp10b(ts[i3] * scale[c3], nearest)
                unit = _unit_bits(t0, t1, t2, t3, _LEAST_B, _BELOW_B)
                ts[i0], ts[i1] = _truncated(t0, unit), _truncated(t1, unit)
                ts[i2], ts[i3] = _truncated(t2, unit), _truncated(t3, unit)

    return kernel(gradient)
