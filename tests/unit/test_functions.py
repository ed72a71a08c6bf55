"""The transcendental functions: within 2 ulp on the whole of fp32, and the same bits as ever."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from flexc.numerics import erf, exp, gelu, log, power, sigmoid, tanh

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Function = Callable[[Float32Array], Float32Array]
Reference = Callable[[Float64Array], Float64Array]

LARGEST = float(np.finfo(np.float32).max)
OVERFLOW = LARGEST + 2.0**103
"""From here on the nearest fp32 is infinity."""

erf_64 = np.vectorize(math.erf, otypes=[np.float64])
erfc_64 = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid_64(x: Float64Array) -> Float64Array:
    t = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, t, 1.0) / (1.0 + t))


def gelu_64(x: Float64Array) -> Float64Array:
    """x Phi(x); in the tail, where erfc's argument must be exact, with its rounding error put back."""
    cut = np.clip(x, -40.0, 40.0)
    z = -cut / math.sqrt(2.0)
    # x**2 is exact in fp64 for an fp32 x: erfc changes by -2/sqrt(pi) exp(-z**2) dz, with z**2 = x**2 / 2.
    dz = -(z * z - cut * cut / 2.0) / (2.0 * np.where(z == 0, 1.0, z))
    tail = erfc_64(z) - 2.0 / math.sqrt(math.pi) * np.exp(-cut * cut / 2.0) * dz
    return np.asarray(np.where(x == -np.inf, -0.0, 0.5 * np.where(x == -np.inf, 0.0, x) * tail))


def gelu_tanh_64(x: Float64Array) -> Float64Array:
    cut = np.clip(x, -40.0, 40.0)
    z = 2.0 * math.sqrt(2.0 / math.pi) * (cut + 0.044715 * cut**3)
    return np.asarray(np.where(x == -np.inf, 0.0, x) * sigmoid_64(z))


FUNCTIONS: dict[str, tuple[Function, Reference]] = {
    "exp": (exp, np.exp),
    "log": (log, np.log),
    "tanh": (tanh, np.tanh),
    "erf": (erf, erf_64),
    "sigmoid": (sigmoid, sigmoid_64),
    "gelu": (gelu, gelu_64),
    "gelu_tanh": (partial(gelu, approximate="tanh"), gelu_tanh_64),
}
each_function = pytest.mark.parametrize(
    ("function", "reference"), [pytest.param(*pair, id=name) for name, pair in FUNCTIONS.items()]
)


def errors_in_ulps(got: Float32Array, exact: Float64Array) -> Float64Array:
    """|got - exact| in units of the last place of exact; 0 where both are NaN or the same infinity."""
    with np.errstate(all="ignore"):
        ulp = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
        error = np.abs(got.astype(np.float64) - exact) / ulp
    both_overflow = np.isinf(got) & (np.abs(exact) >= OVERFLOW) & (np.sign(got) == np.sign(exact))
    error[both_overflow | (np.isnan(got) & np.isnan(exact))] = 0.0
    error[np.isnan(error)] = np.inf
    return np.asarray(error)


def sweep(mantissas: int) -> Float32Array:
    """Every sign and exponent with the extreme fractions and scattered ones: NaN and infinity included."""
    scattered = np.arange(1, mantissas + 1, dtype=np.uint32) * np.uint32(0x9E3779B1) >> np.uint32(9)
    extreme = np.array([0, 1, 2, 0x400000, 0x7FFFFE, 0x7FFFFF], np.uint32)
    fractions = np.concatenate([extreme, scattered])
    fields = np.arange(1 << 9, dtype=np.uint32) << np.uint32(23)
    patterns: NDArray[np.uint32] = fields[:, None] | fractions
    return patterns.ravel().view(np.float32)


def where_they_bend(count: int) -> Float32Array:
    """Values on the scale where the functions are neither constant nor straight."""
    rng = np.random.default_rng(77)
    ranges = [(-104.5, 89.5), (-15.0, 15.0), (-1.3, 1.3), (0.6, 1.5)]
    return np.concatenate([rng.uniform(*bounds, count) for bounds in ranges]).astype(np.float32)


def worst_error(function: Function, reference: Reference, x: Float32Array) -> tuple[float, float]:
    """(error in ulps, the x where it is)."""
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.float64))
    errors = errors_in_ulps(function(x), exact)
    at = int(errors.argmax())
    return float(errors[at]), float(x[at])


@each_function
def test_error_stays_below_two_ulps(function: Function, reference: Reference) -> None:
    x = np.concatenate([sweep(60), where_they_bend(10_000)])
    error, at = worst_error(function, reference, x)
    assert error < 2.0, f"{error} ulp at {at!r}"


@pytest.mark.slow
@each_function
def test_error_on_every_61st_float(function: Function, reference: Reference) -> None:
    block = 1 << 21
    for first in range(0, 1 << 32, 61 * block):
        patterns = np.arange(first, min(first + 61 * block, 1 << 32), 61, dtype=np.uint64)
        x = patterns.astype(np.uint32).view(np.float32)
        error, at = worst_error(function, reference, x)
        assert error < 2.0, f"{error} ulp at {at!r}"


@pytest.mark.slow
def test_error_of_exp_on_every_float_that_it_does_not_round_to_a_constant() -> None:
    for sign in (0, 1 << 31):
        for first in range(0x32000000, 0x42E00000, 1 << 22):
            x = (np.arange(first, first + (1 << 22), dtype=np.uint32) | np.uint32(sign)).view(np.float32)
            error, at = worst_error(exp, np.exp, x)
            assert error < 1.0, f"{error} ulp at {at!r}"


def power_cases(count: int) -> tuple[Float32Array, Float32Array]:
    """Random pairs, and pairs whose results cover the whole range, for x far from 1 and very near it."""
    rng = np.random.default_rng(5)
    anything = rng.integers(0, 1 << 32, (3, count), dtype=np.uint32).view(np.float32)
    near_one = (1.0 + rng.uniform(-1, 1, count) * 2.0 ** -rng.integers(0, 25, count)).astype(np.float32)
    xs, ys = [anything[0]], [anything[1]]
    for x in (np.abs(anything[2]), near_one):
        with np.errstate(all="ignore"):
            aimed = rng.uniform(-105, 90, count) / np.log(x.astype(np.float64))
            ys.append(aimed.astype(np.float32))
        xs.append(x)
    xs.append(-np.exp(rng.uniform(-4, 4, count)).astype(np.float32))
    ys.append(rng.integers(-25, 25, count).astype(np.float32))
    return np.concatenate(xs), np.concatenate(ys)


def test_error_of_power_stays_below_two_ulps() -> None:
    x, y = power_cases(20_000)
    with np.errstate(all="ignore"):
        # The exponent multiplies the logarithm's fp64 error: at most 104 * 2**-53, far below an fp32 ulp.
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
    errors = errors_in_ulps(power(x, y), exact)
    at = int(errors.argmax())
    assert errors[at] < 2.0, f"{errors[at]} ulp at {x[at]!r} ** {y[at]!r}"


PINNED_BITS = {
    "exp": 0xDC80DBDA,
    "log": 0xAE5F7ED6,
    "tanh": 0xB7629CA8,
    "erf": 0x37FC61E3,
    "sigmoid": 0x94C94486,
    "gelu": 0x43C5AA1F,
    "gelu_tanh": 0xDE52777C,
}


def checksum(y: Float32Array) -> int:
    """Of the bits; every NaN counts alike, since IEEE leaves its payload open."""
    return zlib.crc32(np.where(np.isnan(y), np.float32(np.nan), y).astype("<f4").tobytes())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_are_pinned(name: str) -> None:
    """A compiled model keeps its bytes: a changed sequence is a new version of the specification."""
    assert checksum(FUNCTIONS[name][0](sweep(10))) == PINNED_BITS[name]


def test_bits_of_power_are_pinned() -> None:
    fields = (np.arange(1 << 9, dtype=np.uint32) << np.uint32(23) | np.uint32(0x2A5A5A)).view(np.float32)
    exponents = np.array([-3.0, -0.75, 0.1, 0.5, 1.0, 1.9, 2.0, 7.0], np.float32)
    assert checksum(power(fields[:, None], exponents)) == 0x53F037B3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_the_place_in_an_array(name: str) -> None:
    function = FUNCTIONS[name][0]
    x = np.concatenate([where_they_bend(60), np.array([0.0, -0.0, np.inf, -np.inf, 1e-40], np.float32)])
    alone = np.array([function(value.reshape(()))[()] for value in x])
    for offset in range(9):
        shifted = np.concatenate([np.full(offset, 0.3, np.float32), x])
        assert function(shifted[offset:]).tobytes() == alone.tobytes()
    spread = np.zeros((x.size, 3), np.float32)
    spread[:, 1] = x
    assert function(spread[:, 1]).tobytes() == alone.tobytes()
    assert function(x[::-1])[::-1].tobytes() == alone.tobytes()
    assert function(np.tile(x, 100)).tobytes() == np.tile(alone, 100).tobytes()
