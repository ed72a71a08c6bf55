"""The arrays behind ``nn.constant`` and ``bfp.constant``: IR text holds keys, the store holds values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from flexc.ir.bfp import BlockTensorType
from flexc.numerics.block_float import BlockTensor


class WeightStore:
    """Arrays by key. A block tensor under key ``k`` is two arrays, ``k.mantissa`` and ``k.exponent``."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[np.generic]] = {}
        self._blocks: dict[str, BlockTensor] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._arrays or key in self._blocks

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def add(self, key: str, array: npt.NDArray[np.generic]) -> str:
        """Stores ``array`` under ``key``, or ``key.1``, ``key.2``... if taken; returns the key used."""
        free = self._free(key)
        self._arrays[free] = array
        return free

    def get(self, key: str) -> npt.NDArray[np.generic]:
        """The array under ``key``; KeyError without one."""
        return self._arrays[key]

    def add_block(self, key: str, block: BlockTensor) -> str:
        """Stores a quantized tensor; returns the key used."""
        free = self._free(key)
        self._blocks[free] = block
        return free

    def block(self, key: str, block_type: BlockTensorType) -> BlockTensor:
        """The quantized tensor under ``key``, which has the format and tile of ``block_type``."""
        if key not in self._blocks:
            self._blocks[key] = BlockTensor.from_planes(
                self._arrays[f"{key}.mantissa"],
                np.asarray(self._arrays[f"{key}.exponent"], np.uint8),
                block_type.format,
                block_type.get_tile(),
            )
        return self._blocks[key]

    def keep_only(self, keys: set[str]) -> None:
        """Drops every array and block whose key is not in ``keys``."""
        self._arrays = {key: array for key, array in self._arrays.items() if key in keys}
        self._blocks = {key: block for key, block in self._blocks.items() if key in keys}

    def copy(self) -> WeightStore:
        """A store of its own that shares the arrays."""
        store = WeightStore()
        store._arrays, store._blocks = dict(self._arrays), dict(self._blocks)
        return store

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        arrays = dict(self._arrays)
        for key, block in self._blocks.items():
            arrays[f"{key}.mantissa"] = block.mantissa
            arrays[f"{key}.exponent"] = block.exponent
        save_file({key: np.asarray(array, order="C") for key, array in sorted(arrays.items())}, path)

    @classmethod
    def load(cls, path: Path) -> WeightStore:
        """Reads a safetensors file that :meth:`save` wrote."""
        store = cls()
        store._arrays = dict(load_file(path))
        return store

    def _free(self, key: str) -> str:
        candidate, number = key, 0
        while candidate in self:
            number += 1
            candidate = f"{key}.{number}"
        return candidate
