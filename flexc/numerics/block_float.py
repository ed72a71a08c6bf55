"""Block floating point: formats and tensors of integer mantissas with one exponent a group (section 1)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_MAGNITUDE_BITS = 24
EXPONENT_BIAS = 127


class Sign(StrEnum):
    """Whether the sign is one of the mantissa bits or a bit beside them."""

    INCLUDED = "included"
    SEPARATE = "separate"


class Rounding(StrEnum):
    """How a magnitude becomes an integer; nearest takes ties to even."""

    NEAREST = "nearest"
    TRUNCATE = "truncate"
    STOCHASTIC = "stochastic"


@dataclass(frozen=True)
class BlockFormat:
    """``mantissa_bits`` a mantissa, 8 bits of biased exponent a group.

    Raises ValueError unless the magnitude has between 1 and 24 bits.
    """

    mantissa_bits: int
    sign: Sign = Sign.INCLUDED

    def __post_init__(self) -> None:
        object.__setattr__(self, "sign", Sign(self.sign))
        if not 1 <= self.magnitude_bits <= MAX_MAGNITUDE_BITS:
            raise ValueError(
                f"mantissa_bits {self.mantissa_bits} with sign {self.sign} leaves {self.magnitude_bits} "
                f"magnitude bits; 1 to {MAX_MAGNITUDE_BITS} are possible"
            )

    @property
    def magnitude_bits(self) -> int:
        """The bits of a magnitude, p of the specification."""
        return self.mantissa_bits - 1 if self.sign is Sign.INCLUDED else self.mantissa_bits

    @property
    def largest_magnitude(self) -> int:
        """2^p - 1."""
        return (1 << self.magnitude_bits) - 1

    @property
    def mantissa_dtype(self) -> np.dtype[np.signedinteger[Any]]:
        """The narrowest of int8, int16 and int32 that holds a signed mantissa."""
        if self.magnitude_bits <= 7:
            return np.dtype(np.int8)
        return np.dtype(np.int16 if self.magnitude_bits <= 15 else np.int32)

    def storage_bits(self, elements: int, groups: int = 1) -> int:
        """Bits that ``elements`` mantissas and ``groups`` exponents take in memory."""
        sign_bits = 0 if self.sign is Sign.INCLUDED else 1
        return elements * (self.mantissa_bits + sign_bits) + 8 * groups


FB12 = BlockFormat(4)
FB16 = BlockFormat(8)
FB24 = BlockFormat(16)
GROUP_LENGTH = {4: 216, 8: 108, 16: 54}
"""The default group length of each mantissa width: 864 mantissa bits a group."""


def cut_tile(tile: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The tile with entries larger than their dimension cut to it.

    Raises ValueError for a tile of the wrong rank, an entry below 1, or a tensor of rank 0.
    """
    if not shape:
        raise ValueError("a block tensor has rank 1 or more, not 0")
    if len(tile) != len(shape):
        raise ValueError(f"tile {list(tile)} has {len(tile)} entries for a tensor of shape {list(shape)}")
    if any(extent < 1 for extent in tile):
        raise ValueError(f"tile {list(tile)} has an entry below 1")
    return tuple(min(int(extent), max(dim, 1)) for extent, dim in zip(tile, shape, strict=True))


def groups_shape(shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    """The number of groups in each dimension: ceil(dim / tile)."""
    return tuple(-(-dim // extent) for dim, extent in zip(shape, tile, strict=True))


def expand_groups(per_group: NDArray[Any], shape: tuple[int, ...], tile: tuple[int, ...]) -> NDArray[Any]:
    """Give every element its group's entry: an array that broadcasts to ``shape``."""
    for axis, (dim, extent) in enumerate(zip(shape, tile, strict=True)):
        if extent > 1 and per_group.shape[axis] > 1:
            per_group = np.repeat(per_group, extent, axis=axis)
            per_group = per_group[(slice(None),) * axis + (slice(0, dim),)]
    return per_group


_UNKNOWN = (0, 0)
_FRACTION_BITS = 23


class BlockTensor:
    """A tensor of signed mantissas q and group exponents E; its elements are q * 2^(E - 127 - (p - 1)).

    It holds mantissas, or the fp32 values they stand for, or both, and makes the one from the other when
    asked; both are exact. ``exponent`` is uint8 of shape ceil(dim / tile). Neither plane may be changed.
    """

    __slots__ = (
        "_exponent_range",
        "_mantissa",
        "_prepared",
        "_values",
        "exponent",
        "format",
        "shape",
        "tile",
    )

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        exponent: NDArray[np.uint8],
        format: BlockFormat,
        tile: tuple[int, ...],
        mantissa: NDArray[Any] | None = None,
        values: NDArray[np.float32] | None = None,
    ) -> None:
        """Trusts its arguments; :meth:`from_planes` and :func:`quantize` are the ways to make one."""
        self.shape = shape
        self.exponent = exponent
        self.format = format
        self.tile = tile
        self._mantissa = mantissa
        self._values = values
        self._exponent_range: tuple[int, int] | None = _UNKNOWN
        self._prepared: dict[Hashable, NDArray[Any]] = {}

    @classmethod
    def from_planes(
        cls,
        mantissa: NDArray[Any],
        exponent: NDArray[np.uint8],
        format: BlockFormat,
        tile: Sequence[int],
    ) -> BlockTensor:
        """A tensor from its two planes.

        Raises ValueError when the exponents do not have one entry a group, a mantissa does not fit the
        format, or a group of exponent 0 holds a mantissa other than 0.
        """
        cut = cut_tile(tile, mantissa.shape)
        if exponent.shape != groups_shape(mantissa.shape, cut) or exponent.dtype != np.uint8:
            raise ValueError(
                f"exponent plane {exponent.dtype}{list(exponent.shape)} does not belong to mantissas of "
                f"shape {list(mantissa.shape)} in tiles of {list(cut)}"
            )
        if mantissa.size:
            largest = max(int(mantissa.max()), -int(mantissa.min()))
            if largest > format.largest_magnitude:
                raise ValueError(f"mantissa of magnitude {largest} does not fit {format}")
        if exponent.size and not exponent.all():
            in_zero_group = expand_groups(exponent == 0, mantissa.shape, cut)
            if np.any(mantissa.astype(bool) & in_zero_group):
                raise ValueError("a group of exponent 0 holds a mantissa other than 0")
        return cls(
            shape=mantissa.shape,
            exponent=exponent,
            format=format,
            tile=cut,
            mantissa=mantissa.astype(format.mantissa_dtype, copy=False),
        )

    @property
    def mantissa(self) -> NDArray[Any]:
        """The signed mantissas, in the narrowest of int8, int16 and int32 that holds them."""
        if self._mantissa is None:
            self._mantissa = self._in_units().astype(self.format.mantissa_dtype)
        return self._mantissa

    def _in_units(self) -> NDArray[np.float32]:
        """The elements divided by their units."""
        exponents = self.exponent_range()
        least = self.format.magnitude_bits - 1
        if exponents is not None and not least <= exponents[0] <= exponents[1] < 2 * EXPONENT_BIAS + least:
            unit = expand_groups(self._unit_exponent(), self.shape, self.tile)
            divided: NDArray[np.float32] = np.ldexp(self.values, -unit)
            return divided
        # The reciprocals of these units are normal numbers; groups of zeros may have any.
        biased = 2 * EXPONENT_BIAS + least - np.maximum(self.exponent, max(least, 1)).astype(np.int32)
        reciprocal = (biased << _FRACTION_BITS).view(np.float32)
        exact: NDArray[np.float32] = self.values * expand_groups(reciprocal, self.shape, self.tile)
        return exact

    @property
    def values(self) -> NDArray[np.float32]:
        """The elements in fp32: exact, since a mantissa has at most 24 bits and 2^-149 is the least unit."""
        if self._values is None:
            assert self._mantissa is not None
            self._values = self._mantissa.astype(np.float32) * expand_groups(
                self.unit(), self.shape, self.tile
            )
        return self._values

    def unit(self) -> NDArray[np.float32]:
        """2^u of each group, the value of a mantissa of 1; of no meaning for groups of zeros."""
        unit: NDArray[np.float32] = np.ldexp(np.float32(1), self._unit_exponent())
        return unit

    def _unit_exponent(self) -> NDArray[np.int32]:
        """u = E - 127 - (p - 1) of each group; groups of exponent 0 hold zeros, so any unit does for them."""
        biased = np.maximum(self.exponent, 1).astype(np.int32)
        return biased - (EXPONENT_BIAS + self.format.magnitude_bits - 1)

    def exponent_range(self) -> tuple[int, int] | None:
        """The least and the largest exponent of the groups that are not all zero, or None without any."""
        if self._exponent_range is _UNKNOWN:
            largest = int(self.exponent.max(initial=0))
            # Zero exponents wrap to 255 and lose the minimum.
            least = int((self.exponent - np.uint8(1)).min(initial=255)) + 1
            self._exponent_range = (least, largest) if largest else None
        return self._exponent_range

    def prepared(self, key: Hashable, build: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What ``build`` made when first asked for ``key``: layouts of weights that kernels use again."""
        if key not in self._prepared:
            self._prepared[key] = build()
        return self._prepared[key]

    def __repr__(self) -> str:
        return f"BlockTensor(shape={self.shape}, format={self.format}, tile={self.tile})"


def dequantize(t: BlockTensor) -> NDArray[np.float32]:
    """The fp32 values of a block tensor, exactly."""
    return t.values
