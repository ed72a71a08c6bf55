"""x**y on fp32, within 2 ulp, with the special cases of C's pow (numerics specification, section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.numerics.elementwise import Float32Array, map_blocks_binary
from flexc.numerics.functions import scale_by_power_of_two
from flexc.numerics.functions_extended import exp_extended, fast_two_sum, log_extended, two_product

F = np.float32
_LARGEST_EXPONENT = F(4294967296.0)
"""Beyond 2**32 every x != 1 has over- or underflowed: |log x| >= 2**-24.1 for the x nearest to 1."""
_ARGUMENT_BOUND = F(120.0)
"""exp overflows above 89 and is +0 below -104."""


def power(x: Float32Array, y: Float32Array) -> Float32Array:
    """x**y, broadcast. x**2 is RN32(x * x).

    x**+-0 = 1 and 1**y = 1 even for NaN; a negative x to a finite non-integer y is NaN; zeros and infinities
    keep the sign of x for odd integers y.
    """
    return map_blocks_binary("power", power_block, x, y)


def power_block(x: Float32Array, y: Float32Array) -> Float32Array:
    """|x|**y by exp(y * log |x|) in double-float, then the sign and the special cases."""
    square = y == F(2.0)
    if square.all():
        return x * x
    magnitude = np.abs(x)
    ordinary = (magnitude > F(0.0)) & (magnitude < F(np.inf))
    result = _positive_power(np.where(ordinary, magnitude, F(1.0)), y)
    integer = np.floor(y) == y
    odd = integer & (np.floor(y * F(0.5)) != y * F(0.5))
    if not ordinary.all():
        grows = (magnitude == F(np.inf)) == (y > F(0.0))
        np.copyto(result, np.where(grows, F(np.inf), F(0.0)), where=~ordinary)
    np.copyto(result, F(np.nan), where=(x < F(0.0)) & ordinary & ~integer)
    np.copyto(result, -result, where=np.signbit(x) & odd)
    np.copyto(result, F(np.nan), where=np.isnan(x) | np.isnan(y))
    np.copyto(result, F(1.0), where=(y == F(0.0)) | (x == F(1.0)))
    np.copyto(result, x * x, where=square)
    return result


def _positive_power(x: Float32Array, y: Float32Array) -> Float32Array:
    log_hi, log_lo = log_extended(x)
    bounded = np.minimum(np.maximum(y, -_LARGEST_EXPONENT), _LARGEST_EXPONENT)
    product, error = two_product(bounded, log_hi)
    error += bounded * log_lo
    product, error = fast_two_sum(product, error)
    in_range: NDArray[np.bool_] = np.abs(product) < _ARGUMENT_BOUND
    np.copyto(error, F(0.0), where=~in_range)
    argument = np.minimum(np.maximum(product, -_ARGUMENT_BOUND), _ARGUMENT_BOUND)
    mantissa, _, n = exp_extended((argument, error))
    return scale_by_power_of_two(mantissa, n)
