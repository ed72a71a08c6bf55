"""LightNorm's backward pass is the derivative of its forward pass, but for the roundings of both.

The two passes by the text (``lightnorm_reference``, whose bytes the kernels' are) run here in fp64 with every
rounding taken out; what the roundings do to the kernels' results is bounded one by one.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from flexc import numerics
from flexc.numerics import LightNormForward, lightnorm_constants, lightnorm_reference
from flexc.numerics.lightnorm_constants import range_constant
from tests.double_precision import slopes

Array: TypeAlias = npt.NDArray[Any]
EPS = 2.0**-6
CASES = [((4, 3, 4, 4), 4), ((2, 5, 3, 2), 4), ((6, 2), 1), ((8, 1, 2, 3, 1), 8)]
"""Shapes [N, C, ...] and numbers of chunks."""


def take_out_roundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the passes by the text without number formats and without their order of sums."""

    def as_it_is(x: Array, *_: object, **__: object) -> Array:
        return x

    monkeypatch.setattr(lightnorm_constants, "round_to", as_it_is)
    monkeypatch.setattr(lightnorm_constants, "bfp10", as_it_is)
    for name in ("round_to", "round_fp64_to", "bfp10"):
        monkeypatch.setattr(lightnorm_reference, name, as_it_is)
    monkeypatch.setattr(lightnorm_reference, "lane_sum", lambda x: x.sum(axis=-1))


def operands(shape: tuple[int, ...]) -> list[Array]:
    """x, gamma, beta and g in fp64; the elements of x are different multiples of 2^-6."""
    rng = np.random.default_rng(2)
    x = (rng.permutation(prod(shape)) - prod(shape) / 2).reshape(shape) * 2.0**-6
    vectors = [rng.uniform(0.5, 2, shape[1]), rng.standard_normal(shape[1])]
    return [x, *vectors, rng.standard_normal(shape)]


def unrounded(x: Array, gamma: Array, beta: Array, chunks: int) -> LightNormForward:
    """The forward pass without roundings, of x in fp64."""
    by_chunk = np.moveaxis(x, 1, 0).reshape(x.shape[1], chunks, -1)
    of_chunk = by_chunk.shape[2]
    argmax, argmin = by_chunk.argmax(2), by_chunk.argmin(2)
    spread = (by_chunk.max(2) - by_chunk.min(2)).mean(1)
    mean, scale = by_chunk.mean((1, 2)), 1 / (spread * float(range_constant(of_chunk)) + EPS)
    over_x = (-1, *[1] * (x.ndim - 2))
    xhat = (x - mean.reshape(over_x)) * scale.reshape(over_x)
    y = xhat * gamma.reshape(over_x) + beta.reshape(over_x)
    first = np.arange(chunks) * of_chunk
    return LightNormForward(y, xhat, mean, scale, argmax + first, argmin + first, gamma, spread)


@pytest.mark.parametrize(("shape", "chunks"), CASES)
def test_the_backward_formula_is_the_slope_of_the_unrounded_forward(
    shape: tuple[int, ...], chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out_roundings(monkeypatch)
    x, gamma, beta, g = operands(shape)

    def along_g(x: Array, gamma: Array, beta: Array) -> float:
        return float((g * unrounded(x, gamma, beta, chunks).y).sum())

    expected = slopes(along_g, [x, gamma, beta])
    found = lightnorm_reference.lightnorm_backward_reference(g, unrounded(x, gamma, beta, chunks))
    for gradient, slope in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-8 * np.abs(slope).max())


@pytest.mark.parametrize(("shape", "chunks"), CASES)
def test_the_unrounded_forward_is_that_of_the_text(
    shape: tuple[int, ...], chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out_roundings(monkeypatch)
    x, gamma, beta, _ = operands(shape)
    found = lightnorm_reference.lightnorm_forward_reference(x, gamma, beta, eps=EPS, num_chunks=chunks)
    expected = unrounded(x, gamma, beta, chunks)
    np.testing.assert_array_equal(found.argmax, expected.argmax)
    np.testing.assert_array_equal(found.argmin, expected.argmin)
    # The range and the reciprocal of its product with C are fp32 in the text, before any number format.
    for name in ("y", "xhat", "mean", "scale", "range"):
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-7 * np.abs(other).max(), err_msg=name)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize(("shape", "chunks"), [((16, 1, 3, 2), 8), ((40, 1), 4)])
def test_kernels_round_the_formula_once(
    shape: tuple[int, ...], chunks: int, rounding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what is rounded before, sums are right to fp32, and dx is to half a unit of FP10B, or a whole one.

    A single channel shares its exponents with none.
    """
    x, gamma, beta, g = (one.astype(np.float32) for one in operands(shape))
    saved = numerics.lightnorm_forward(x, gamma, beta, eps=EPS, num_chunks=chunks, rounding=rounding)
    dx, dgamma, dbeta = numerics.lightnorm_backward(g, saved, rounding=rounding)
    h: Array = numerics.minifloat(g, exponent_bits=6, fraction_bits=3, rounding=rounding).astype(np.float64)
    error = 2.0**-4 if rounding == "nearest" else 2.0**-3
    assert np.all(np.abs(h - g) <= error * np.abs(g))

    take_out_roundings(monkeypatch)
    arrays = vars(saved).values()
    exactly = LightNormForward(*(one * np.float64(1) if one.dtype.kind == "f" else one for one in arrays))
    exact_dx, exact_dgamma, exact_dbeta = lightnorm_reference.lightnorm_backward_reference(h, exactly)
    assert abs(dbeta - exact_dbeta) < 1e-6 * np.abs(h).sum()
    assert abs(dgamma - exact_dgamma) < 1e-6 * np.abs(h * saved.xhat).sum()
    slack = 1e-6 * np.abs(exact_dx).max()
    assert np.all(np.abs(dx - exact_dx) <= error * np.abs(exact_dx) + slack)
