"""The random bits of stochastic rounding: a hash of the element's index (specification, section 1).

The bits of an element depend on the seed, the stream and its flat row-major index alone, so no tiling,
order of evaluation or thread can change them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WORD = 0xFFFFFFFF
_GOLDEN_RATIO = 0x9E3779B9


def mix(h: int) -> int:
    """The 32-bit finalizer of the specification, on one word."""
    h &= _WORD
    h ^= h >> 16
    h = h * 0x85EBCA6B & _WORD
    h ^= h >> 13
    h = h * 0xC2B2AE35 & _WORD
    return h ^ h >> 16


def stream_of(step: int, node: int) -> int:
    """The stream of quantize node ``node`` in training step ``step`` (0 when there is none)."""
    return (step * 2**12 + node) & _WORD


def random_bits(shape: tuple[int, ...], *, seed: int, stream: int) -> NDArray[np.uint32]:
    """16 random bits an element, as uint32 values below 2^16; ``seed`` and ``stream`` are taken mod 2^32."""
    h = np.zeros((1,) * len(shape), np.uint32)
    step = 1
    for axis in reversed(range(len(shape))):
        along = np.arange(shape[axis], dtype=np.uint64) * np.uint64(step & _WORD)
        words = (along & np.uint64(_WORD)).astype(np.uint32)
        h = h + words.reshape((-1,) + (1,) * (len(shape) - 1 - axis))
        step *= shape[axis]
    return random_bits_at(h, seed=seed, stream=stream)


def random_bits_at(index: NDArray[np.uint32], *, seed: int, stream: int) -> NDArray[np.uint32]:
    """The random bits of elements given by their flat indices, taken mod 2^32."""
    h = index * np.uint32(_GOLDEN_RATIO)
    h += np.uint32(mix(seed ^ mix(stream)))
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    h >>= np.uint32(16)
    return h
