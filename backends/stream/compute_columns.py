"""Cycles of compute records on the cores, for many of them at once.

A core's cycles depend on its extents and on where its segments are cut, that is on where its box starts
within the groups of both operands. So they are worked out once for each such case that occurs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box_columns import BoxColumns, Insides
from flexc.backends.stream.columns import Integers, label_rows
from flexc.backends.stream.core_tile import CoreTile
from flexc.backends.stream.decode import rows_of, take_records
from flexc.backends.stream.isa import COMPUTE_DIMS
from flexc.target.machine import Target

G, K = COMPUTE_DIMS.index("g"), COMPUTE_DIMS.index("k")
TILE_FIELDS = ("stream", "lane", "unit", "pe", "a_axis", "b_axis", "a_group", "b_group")
"""Fields that the cycles of a tile depend on, apart from the formats of its operands."""


class ComputeColumns:
    """What those of ``records`` [records] that are ``on_cores`` [indices] take on ``target``."""

    def __init__(self, records: NDArray[Any], on_cores: Integers, boxes: BoxColumns, target: Target) -> None:
        self._boxes = boxes
        computes = take_records(records, on_cores)
        kinds, kind = _kinds(computes)
        self._tiles = _core_tiles(take_records(computes, kinds), target)
        self._kind = np.zeros(len(records), np.int64)
        self._kind[on_cores] = kind
        self._axes = [
            (records[f"{name}_axis"].astype(np.int64), records[f"{name}_group"].astype(np.int64))
            for name in "ab"
        ]

    def cycles(self, insides: Insides, bases: Integers) -> Integers:
        """Cycles of the slowest core, by row; element 0 of core 0 is at ``bases`` [rows, dimensions]."""
        row, core = np.nonzero(insides.count[:, :, G])
        record, count = insides.record[row], insides.count[row, core]
        kind = self._kind[record]
        cores = insides.count.shape[1]
        shifts = (self._boxes.shifts(insides.record, d, cores)[row, core] for d in (G, K))
        first_g, first_k = (
            bases[row, d] + insides.low[row, core, d] + shift for d, shift in zip((G, K), shifts, strict=True)
        )
        columns = [kind, *count.T]
        is_cut = count[:, K] > 1
        for weights, group in self._axes:
            along = weights[record, 0] * first_g + weights[record, 1] * first_k
            columns.append(np.where(is_cut & (weights[record, 1] > 0), along % group[record], 0))
        _, one, alike = np.unique(label_rows(columns), return_index=True, return_inverse=True)
        tiles = zip(*(column[one].tolist() for column in (kind, count, first_g, first_k)), strict=True)
        cycles = np.array([self._tiles[number].cycles(*tile) for number, *tile in tiles], np.int64)
        found = np.zeros(len(insides.record), np.int64)
        np.maximum.at(found, row, cycles[alike])
        return found


def _core_tiles(records: NDArray[Any], target: Target) -> list[CoreTile]:
    """The tiles of compute records; only what they read is decoded."""
    decoded = rows_of(records, (*TILE_FIELDS, "whole_axis"))
    for record, formats in zip(decoded, records["operand"]["format"].tolist(), strict=True):
        record["operand"] = {"format": formats}
    return [CoreTile(record, target) for record in decoded]


def _kinds(records: NDArray[Any]) -> tuple[Integers, Integers]:
    """Compute records whose tiles are unlike (indices), and for each record the place of its like there."""
    columns = []
    for name in TILE_FIELDS:
        field = records[name].astype(np.int64)
        columns += [field[:, *entry] for entry in np.ndindex(field.shape[1:])]
    columns += [records["operand"]["format"][:, place].astype(np.int64) for place in (1, 3)]
    _, kinds, kind = np.unique(label_rows(columns), return_index=True, return_inverse=True)
    return kinds, kind
