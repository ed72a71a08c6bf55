"""Bytes that DMA records move, for many at once: the bits of distinct elements, rounded up to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box_columns import BoxColumns, Insides
from flexc.backends.stream.columns import Flags, Integers, label_rows
from flexc.backends.stream.isa import DIMS, FORMAT_BITS, OPCODES, Addressing, Opcode

TRANSFERRED: tuple[dict[Opcode, str], ...] = (
    {Opcode.LOAD: "src", Opcode.GATHER: "src", Opcode.STORE: "dst"},
    {Opcode.GATHER: "indices"},
)
"""Operands whose elements move to or from DRAM, where that is what their addresses are of."""
BITS_OF_FORMAT = np.array([FORMAT_BITS[one] for one in sorted(FORMAT_BITS)], np.int64)


@dataclass(frozen=True)
class _Moved:
    """One operand of each record, as far as its elements are moved to or from DRAM."""

    bits: Integers
    """Of an element [records], 0 where none is moved."""
    indexed: Flags
    """The dimensions that tell elements apart [records, dimensions]."""
    spread: Flags
    """Those of them along which cores have elements of their own."""
    jointly: Flags
    """Records of which cores along one axis move in several of them."""


class TransferColumns:
    """What DMA ``records`` move."""

    def __init__(self, records: NDArray[Any], boxes: BoxColumns) -> None:
        self._boxes = boxes
        self._operands = [_moved(records, names, boxes) for names in TRANSFERRED]

    def moved_bytes(self, insides: Insides) -> Integers:
        """Bytes to or from DRAM, by row."""
        moved = np.zeros(len(insides.record), np.int64)
        for operand in self._operands:
            row = np.flatnonzero(operand.bits[insides.record])
            if len(row):
                part = insides.rows(row)
                bits = self._distinct(part, operand) * operand.bits[part.record]
                moved[row] += -(-bits // 8)
        return moved

    def _distinct(self, insides: Insides, operand: _Moved) -> Integers:
        """Different elements of an operand inside, over all cores."""
        record = insides.record
        cores, dims = insides.count.shape[1:]
        along = insides.count[:, 0] if cores == 1 else insides.count.max(axis=1)
        if cores > 1:
            row, d = np.nonzero(operand.spread[record, :dims])
            along[row, d] = _union_lengths(*self._starts(insides, row, d))
        elements = np.where(operand.indexed[record, :dims], along, 1).prod(axis=1)
        jointly = np.flatnonzero(operand.jointly[record])
        if len(jointly):
            part = insides.rows(jointly)
            elements[jointly] = self._distinct_boxes(part, operand.indexed[part.record])
        return np.asarray(elements)

    def _starts(self, insides: Insides, row: Integers, d: Integers) -> tuple[Integers, Integers, Integers]:
        """First coordinates and numbers of positions [pairs, cores], and steps [pairs, 1].

        Pairs are of a ``row`` and a dimension ``d``; coordinates count from the base of core 0.
        """
        record = insides.record[row]
        step = self._boxes.step[record, d][:, np.newaxis]
        shift = self._boxes.shifts(record, d, insides.count.shape[1])
        return shift + insides.low[row, :, d] * step, insides.count[row, :, d], step

    def _distinct_boxes(self, insides: Insides, indexed: Flags) -> Integers:
        """As ``_distinct`` where an axis moves several dimensions: elements of the boxes that differ."""
        rows, cores, dims = insides.count.shape
        row = np.repeat(np.arange(rows), cores)
        columns = [row]
        elements = np.ones(rows * cores, np.int64)
        every = np.arange(rows)
        for d in range(dims):
            start, count, _ = self._starts(insides, every, np.full(rows, d))
            is_indexed = indexed[:, d, np.newaxis]
            columns += [np.where(is_indexed, start, 0).ravel(), np.where(is_indexed, count, 0).ravel()]
            elements *= np.where(is_indexed, count, 1).ravel()
        _, one = np.unique(label_rows(columns), return_index=True)
        found = np.zeros(rows, np.int64)
        np.add.at(found, row[one], elements[one])
        return found


def _moved(records: NDArray[Any], names: dict[Opcode, str], boxes: BoxColumns) -> _Moved:
    """The operands of ``records`` that are called by these names."""
    bits = np.zeros(len(records), np.int64)
    indexed = np.zeros((len(records), DIMS), bool)
    for opcode, name in names.items():
        index = np.flatnonzero(records["opcode"] == opcode)
        operand = records["operand"][index, OPCODES[opcode].operands.index(name)]
        in_dram = operand["addressing"] == Addressing.GLOBAL
        bits[index] = np.where(in_dram, BITS_OF_FORMAT[operand["format"]], 0)
        indexed[index] = operand["stride"] != 0
        if opcode is Opcode.GATHER and name == "src":
            # Each index chooses a row, whichever dimensions of the box it lies along.
            choosing = records["operand"][index, OPCODES[opcode].operands.index("indices")]
            indexed[index] |= choosing["stride"] != 0
            indexed[index, records["axis"][index]] = True
    indexed = indexed[:, : boxes.core.shape[1]]
    moving = indexed[:, :, np.newaxis] & (boxes.core != 0)
    return _Moved(bits, indexed, moving.any(axis=2), (moving.sum(axis=1) > 1).any(axis=1))


def _union_lengths(start: Integers, count: Integers, step: Integers) -> Integers:
    """How many different coordinates ``count`` of them ``step`` apart from ``start`` on make, by row.

    Coordinates are sorted by their remainder of the step, which makes runs without gaps of them.
    """
    start = np.where(step < 0, start + (count - 1) * step, start)
    step = np.abs(step)
    first = start // step
    if (step > 1).any():
        extent = int(first.max() - first.min() + count.max()) + 1
        first = first + start % step * extent
    order = np.argsort(first, axis=1)
    first = np.take_along_axis(first, order, axis=1)
    end = first + np.take_along_axis(count, order, axis=1)
    covered = np.maximum.accumulate(end, axis=1)
    new_from = np.maximum(first[:, 1:], covered[:, :-1])
    return np.asarray(end[:, 0] - first[:, 0] + np.maximum(0, end[:, 1:] - new_from).sum(axis=1))
