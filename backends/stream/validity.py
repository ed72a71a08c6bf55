"""Which bits of a buffer hold something.

Validity is kept in pairs of bits (an fp10 element starts on one), four to a byte of an array beside the
content: 15 is a byte that was written whole. Most buffers are filled from one end to the other, so a range of
bytes that are valid in all copies is kept too, and where it says enough the array is neither read nor
written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
WHOLE_BYTE = 15
NOTHING = np.zeros(0, np.uint8)


class Validity:
    """The validity of a buffer's content of shape [..., size].

    What is valid is in the array or in [first, end), the latter for every copy; while ``_in_array`` is
    false the array lacks the range.
    """

    __slots__ = ("_array", "_blank", "_in_array", "_looked", "_shape", "_shared", "end", "first")

    def __init__(self, shape: tuple[int, ...], shared: Bytes | None = None) -> None:
        """Nothing is valid, or what an array shared with others says; that is kept up to date."""
        self._shared = shared is not None
        self._array = NOTHING if shared is None else shared
        self._shape = shape
        self._blank = shared is None
        self._in_array = True
        self._looked = False
        self.first = self.end = 0

    def clear(self, shape: tuple[int, ...]) -> None:
        """Nothing is valid in content that now has this shape."""
        self._shape = shape
        self.first = self.end = 0
        self._in_array = True
        self._blank = True
        if self._shared:
            self._array.fill(0)
            self._blank = False

    def covers(self, first: int, end: int) -> bool:
        """Whether all copies of bytes [first, end) are in the range known to be valid."""
        return self.first <= first and end <= self.end

    def holds(self, first: int, end: int) -> bool:
        """As ``covers``, for bytes that are read: what others filled is looked at once."""
        if self.first <= first and end <= self.end:
            return True
        if self._looked or not self._shared:
            return False
        # A look at all of DRAM's share saves one for each access.
        self._looked = True
        if self._array.min(initial=WHOLE_BYTE) == WHOLE_BYTE:
            self.first, self.end = 0, self._array.size
        return self.first <= first and end <= self.end

    def add(self, first: int, end: int) -> None:
        """Bytes [first, end) of all copies are valid from now on."""
        if self.first <= first and end <= self.end:
            return
        if self._shared:
            self._array[first:end] = WHOLE_BYTE
        if first > self.end or end < self.first or self.first == self.end:
            if not self._in_array:
                self.of_bytes()
            self.first, self.end = first, end
        else:
            self.first, self.end = min(first, self.first), max(end, self.end)
        self._in_array = self._shared

    def of_bytes(self) -> Bytes:
        """The validity of every byte, uint8 of the content's shape; what is changed in it counts."""
        if self._blank:
            if self._array.shape == self._shape:
                self._array.fill(0)
            else:
                self._array = np.zeros(self._shape, np.uint8)
            self._blank = False
        if not self._in_array:
            self._array[..., self.first : self.end] = WHOLE_BYTE
            self._in_array = True
        return self._array

    def spread(self, shape: tuple[int, ...]) -> None:
        """The content has more copies from now on, each like the one it was made of."""
        if not self._blank:
            self._array = np.array(np.broadcast_to(self.of_bytes(), shape))
        self._shape = shape

    def flatten(self, every: tuple[int, ...], cores: int) -> None:
        """The content is [cores, size] from now on; its first cores are those of [..., size] ``every``."""
        size = every[-1]
        flat = np.zeros((cores, size), np.uint8)
        of_grid = np.broadcast_to(self.of_bytes(), every).reshape(-1, size)
        flat[: len(of_grid)] = of_grid
        self._array = flat
        self._shape = flat.shape
        self.first = self.end = 0
