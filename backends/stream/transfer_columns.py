"""Bytes that DMA records move, for many at once: the bits of distinct elements, rounded up to bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box_columns import BoxColumns, Flags, Insides, Integers, label_rows
from flexc.backends.stream.isa import DIMS, FORMAT_BITS, OPCODES, Addressing, Opcode

TRANSFERRED: tuple[dict[Opcode, str], ...] = (
    {Opcode.LOAD: "src", Opcode.GATHER: "src", Opcode.STORE: "dst"},
    {Opcode.GATHER: "indices"},
)
"""Operands whose elements move to or from DRAM, where that is what their addresses are of."""
BITS_OF_FORMAT = np.array([FORMAT_BITS[one] for one in sorted(FORMAT_BITS)], np.int64)


class TransferColumns:
    """What DMA ``records`` move."""

    def __init__(self, records: NDArray[Any], boxes: BoxColumns) -> None:
        self.boxes = boxes
        self._operands = [_operand(records, names) for names in TRANSFERRED]

    def moved_bytes(self, insides: Insides) -> Integers:
        """Bytes to or from DRAM, by row."""
        moved = np.zeros(len(insides.record), np.int64)
        for bits, indexed in self._operands:
            row = np.flatnonzero(bits[insides.record])
            if not len(row):
                continue
            part = insides.rows(row)
            elements = _distinct(self.boxes, part, indexed[part.record])
            moved[row] += -(-elements * bits[part.record] // 8)
        return moved


def _operand(records: NDArray[Any], names: dict[Opcode, str]) -> tuple[Integers, Flags]:
    """The bits of an element that is moved [records], 0 for none, and the dimensions that index it."""
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
    return bits, indexed


def _distinct(boxes: BoxColumns, insides: Insides, indexed: Flags) -> Integers:
    """Different elements inside, over all cores, of operands indexed by dimensions [rows, dimensions]."""
    core = boxes.core[insides.record] != 0
    moved = indexed[:, :, np.newaxis] & core
    along = insides.count.max(axis=1)
    row, d = np.nonzero(moved.any(axis=2))
    if len(row):
        along[row, d] = _union_lengths(*_starts(boxes, insides, row, d))
    elements = np.where(indexed, along, 1).prod(axis=1)
    jointly = np.flatnonzero((moved.sum(axis=1) > 1).any(axis=1))
    if len(jointly):
        elements[jointly] = _distinct_boxes(boxes, insides.rows(jointly), indexed[jointly])
    return np.asarray(elements)


def _starts(
    boxes: BoxColumns, insides: Insides, row: Integers, d: Integers
) -> tuple[Integers, Integers, Integers]:
    """First coordinates and numbers of positions [pairs, cores], and steps [pairs, 1].

    Pairs are of a ``row`` and a dimension ``d``; coordinates count from the base of core 0.
    """
    record = insides.record[row]
    step = boxes.step[record, d][:, np.newaxis]
    positions = boxes.positions(record, insides.count.shape[1])
    shift = (boxes.core[record, d][:, np.newaxis, :] * positions).sum(axis=2)
    return shift + insides.low[row, :, d] * step, insides.count[row, :, d], step


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


def _distinct_boxes(boxes: BoxColumns, insides: Insides, indexed: Flags) -> Integers:
    """As ``_distinct`` where an axis of cores moves several dimensions: elements of the boxes that differ."""
    rows, cores = insides.count.shape[:2]
    row = np.repeat(np.arange(rows), cores)
    columns = [row]
    elements = np.ones(rows * cores, np.int64)
    every = np.arange(rows)
    for d in range(DIMS):
        start, count, _ = _starts(boxes, insides, every, np.full(rows, d))
        is_indexed = indexed[:, d, np.newaxis]
        columns += [np.where(is_indexed, start, 0).ravel(), np.where(is_indexed, count, 0).ravel()]
        elements *= np.where(is_indexed, count, 1).ravel()
    _, one = np.unique(label_rows(columns), return_index=True)
    found = np.zeros(rows, np.int64)
    np.add.at(found, row[one], elements[one])
    return found
