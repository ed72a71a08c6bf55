"""What each function of the vector unit computes: the table from ``isa.FUNCTIONS`` to flexc.numerics.

Arguments are arrays of one rank that broadcast; the last ``reduced`` dimensions are a row or a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc import numerics
from flexc.numerics.reductions import has_negative_zero

Array = NDArray[Any]
VectorFunction = Callable[[Sequence[Array], tuple[float, ...], int], Array]


def _elementwise(kernel: Callable[..., Array]) -> VectorFunction:
    return lambda sources, immediates, reduced: kernel(*sources)


def _with_immediates(kernel: Callable[..., Array], *names: str) -> VectorFunction:
    def function(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
        return kernel(*sources, **dict(zip(names, immediates, strict=True)))

    return function


def _row(kernel: Callable[..., Array]) -> VectorFunction:
    """A kernel over one axis, the row."""

    def function(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
        (x,) = sources
        rows = x.reshape(*x.shape[: x.ndim - reduced], -1)
        return kernel(rows, axis=-1).reshape(x.shape)

    return function


def _reduce(kernel: Callable[..., Array]) -> VectorFunction:
    def function(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
        (x,) = sources
        return kernel(x, axes=tuple(range(x.ndim - reduced, x.ndim)), keepdims=True)

    return function


def _layer_norm(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    x, gamma, *beta = sources
    return numerics.layer_norm(x, gamma, *beta, axis=x.ndim - reduced, eps=immediates[0])


def _batch_norm(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    """``numerics.batch_norm``, whatever the dimension of the channels and however cores split it."""
    x, gamma, beta, mean, variance = sources
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + np.float32(immediates[0]))
        shift = beta - mean * scale
        result: Array = x * scale
        result += shift
    return result


def _taps(x: Array, reduced: int) -> list[Array]:
    """The elements of the windows in row-major order, each [..., 1, 1]."""
    kept = (slice(None),) * (x.ndim - reduced)
    return [
        x[(*kept, *(slice(i, i + 1) for i in tap))]
        for tap in product(*(range(extent) for extent in x.shape[x.ndim - reduced :]))
    ]


def _window_max(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    (x,) = sources
    larger = numerics.maximum if has_negative_zero(np.ascontiguousarray(x)) else np.maximum
    first, *others = _taps(x, reduced)
    best = first
    for tap in others:
        best = larger(best, tap)
    return best


def _window_sum(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    (x,) = sources
    total = np.zeros((*x.shape[: x.ndim - reduced], *(1,) * reduced), np.float32)
    with np.errstate(all="ignore"):
        for tap in _taps(x, reduced):
            total += tap
    return total


def _first_of_row(x: Array, reduced: int) -> tuple[slice, ...]:
    return (slice(None),) * (x.ndim - reduced) + (slice(0, 1),) * reduced


def _window_add(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    """``window_sum`` from a first value on, which has one element along what is reduced."""
    start, x = sources
    start = start[_first_of_row(x, reduced)]
    kept = np.broadcast_shapes(start.shape[: x.ndim - reduced], x.shape[: x.ndim - reduced])
    total = np.array(np.broadcast_to(start, (*kept, *(1,) * reduced)))
    with np.errstate(all="ignore"):
        for tap in _taps(x, reduced):
            total += tap
    return total


def _window_argmax(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    """The number of the tap that wins each window as fp32, -1 where nothing is above -infinity."""
    (x,) = sources
    best = np.full((*x.shape[: x.ndim - reduced], *(1,) * reduced), -np.inf, np.float32)
    winner = np.full(best.shape, -1, np.float32)
    for number, tap in enumerate(_taps(x, reduced)):
        wins = (tap > best) | (tap != tap)
        np.copyto(best, tap, where=wins)
        np.copyto(winner, np.float32(number), where=wins)
    return winner


def _add_from_tap(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    """The gradient of the windows whose winner is one tap, added to what its elements have so far."""
    total, winner, gradient = sources
    passed = np.where(winner == np.float32(immediates[0]), gradient, np.float32(0))
    return numerics.add(total, passed)


def _reduce_max_grad(sources: Sequence[Array], immediates: tuple[float, ...], reduced: int) -> Array:
    gradient, x = sources
    axes = tuple(range(x.ndim - reduced, x.ndim))
    return numerics.reduce_max_grad(gradient[_first_of_row(x, reduced)], x, axes=axes, keepdims=True)


VECTOR_FUNCTIONS: dict[str, VectorFunction] = {
    "copy": lambda sources, immediates, reduced: sources[0],
    "add": _elementwise(numerics.add),
    "sub": _elementwise(numerics.sub),
    "mul": _elementwise(numerics.mul),
    "div": _elementwise(numerics.div),
    "power": _elementwise(numerics.power),
    "minimum": _elementwise(numerics.minimum),
    "maximum": _elementwise(numerics.maximum),
    "equal": _elementwise(numerics.equal),
    "less": _elementwise(numerics.less),
    "greater": _elementwise(numerics.greater),
    "where": _elementwise(numerics.where),
    "relu": _elementwise(numerics.relu),
    "clip": _with_immediates(numerics.clip, "minimum", "maximum"),
    "leaky_relu": _with_immediates(numerics.leaky_relu, "alpha"),
    "hard_sigmoid": _with_immediates(numerics.hard_sigmoid, "alpha", "beta"),
    "hard_swish": _elementwise(numerics.hard_swish),
    "sigmoid": _elementwise(numerics.sigmoid),
    "tanh": _elementwise(numerics.tanh),
    "erf": _elementwise(numerics.erf),
    "gelu": _elementwise(numerics.gelu),
    "gelu_tanh": _elementwise(lambda x: numerics.gelu(x, approximate="tanh")),
    "exp": _elementwise(numerics.exp),
    "log": _elementwise(numerics.log),
    "sqrt": _elementwise(numerics.sqrt),
    "neg": _elementwise(numerics.neg),
    "absolute": _elementwise(numerics.absolute),
    "reciprocal": _elementwise(numerics.reciprocal),
    "floor": _elementwise(numerics.floor),
    "cast": lambda sources, immediates, reduced: sources[0],
    "batch_norm": _batch_norm,
    "softmax": _row(numerics.softmax),
    "log_softmax": _row(numerics.log_softmax),
    "layer_norm": _layer_norm,
    "reduce_sum": _reduce(numerics.reduce_sum),
    "reduce_mean": _reduce(numerics.reduce_mean),
    "reduce_max": _reduce(numerics.reduce_max),
    "window_max": _window_max,
    "window_sum": _window_sum,
    "window_add": _window_add,
    "window_argmax": _window_argmax,
    "add_from_tap": _add_from_tap,
    "reduce_max_grad": _reduce_max_grad,
}
