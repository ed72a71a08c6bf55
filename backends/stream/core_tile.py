"""The buffer tile of one core in a compute record, as far as its cycles go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.isa import COMPUTE_DIMS, FORMAT_BITS, Format, PeUse
from flexc.backends.stream.segments import group_axis, segment_lengths
from flexc.cost.tile_cycles import core_rates, tile_compute_cycles
from flexc.ir.mapping import Dim, Factor, PeFactor, PeRole
from flexc.target.machine import Target

_PE_ROLES: dict[PeUse, PeRole] = {PeUse.REDUCE: "reduce", PeUse.CHAIN: "chain", PeUse.OUTPUTS: "outputs"}


class CoreTile:
    """The spatial mapping and the group axes of a compute record on mantissas."""

    def __init__(self, record: DecodedRecord, target: Target) -> None:
        formats = record["operand"]["format"]
        self._rates = core_rates(target, *(FORMAT_BITS[Format(int(formats[place]))] for place in (1, 3)))
        self._lane, self._unit = (_factor(record[name]) for name in ("lane", "unit"))
        self._pes = [
            PeFactor(_PE_ROLES[PeUse(use)], _dim(dim), factor) for use, dim, factor in record["pe"] if factor
        ]
        self._stream = "b" if record["stream"] else "a"
        self._a_axis, self._b_axis = group_axis(record, 0), group_axis(record, 1)

    def cycles(self, count: Sequence[int], g_first: int, k_first: int) -> int:
        """Cycles of a core with ``count`` elements of each dimension from these coordinates on."""
        g, n, p, q, o, k, r, s = count
        segments = segment_lengths(self._a_axis, self._b_axis, g_first, g, k_first, k)
        return tile_compute_cycles(
            self._rates, self._stream, self._lane, self._unit, self._pes, (g, n, p, q, o), (r, s), segments
        ).total


def _dim(index: int) -> Dim:
    return cast(Dim, COMPUTE_DIMS[index])


def _factor(pair: Any) -> Factor:
    return Factor(_dim(int(pair[0])), int(pair[1]))
