"""What executions of many records cost, worked out at once.

The same numbers as ``record_costs``, which does one record and is what this is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box_columns import BoxColumns, Insides
from flexc.backends.stream.columns import Flags, Integers
from flexc.backends.stream.compute_columns import ComputeColumns
from flexc.backends.stream.isa import COMPUTE_DIMS, DIMS, ENGINES, OPCODES, Format, Opcode
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.backends.stream.transfer_columns import TransferColumns
from flexc.target.machine import Target

MOST_CORES = 1 << 16
"""Cores of cases that are worked on at once, which bounds the memory that it takes."""
NO_ENGINE = -1
ENGINE_OF_OPCODE = np.array(
    [
        NO_ENGINE if OPCODES[opcode].engine == "control" else ENGINES.index(OPCODES[opcode].engine)
        for opcode in sorted(OPCODES)
    ]
)
"""By code, a place in ``ENGINES``."""
IS_DMA = np.array([engine in ("dma_in", "dma_out") for engine in ENGINES])
HAS_LANES = np.array([engine in ("vector", "converter", "lightnorm") for engine in ENGINES])
"""By place in ``ENGINES``."""
CUT = np.isin(np.arange(DIMS), [COMPUTE_DIMS.index(d) for d in "gk"])
"""Dimensions of a compute record whose coordinates tell where its segments are cut."""


@dataclass(frozen=True)
class CostColumns:
    """Costs of records: for each case of a record, what ``record_costs.Cost`` says of one execution."""

    engine: Integers
    """By record, a place in ``ENGINES``."""
    moving: Flags
    """Loops [records, levels] whose counters make the cases of a record."""
    first: Integers
    """The first case of each record, and the number of all cases."""
    cycles: Integers
    macs: Integers
    moved_bytes: Integers
    """To or from DRAM."""
    lane_cycles: Integers
    """Cycles of the lanes that work, added up; 0 of cores and DMA."""


def cost_columns(records: NDArray[Any], trips: Integers, target: Target) -> CostColumns:
    """The costs of ``records`` [records], all of which have an engine, under ``trips`` [records, levels].

    A level without a loop has one trip.
    """
    return _Costs(records, trips, target).all_cases()


class _Costs:
    """What the costs of ``records`` are made of, by record; see ``cost_columns``."""

    def __init__(self, records: NDArray[Any], trips: Integers, target: Target) -> None:
        self.target = target
        self.boxes = BoxColumns(records, trips)
        opcode = records["opcode"]
        fp32 = records["operand"]["format"][:, 1] == Format.F32
        self.multiplies: Flags = opcode == Opcode.COMPUTE
        self.computes: Flags = self.multiplies & ~fp32
        self.engine = ENGINE_OF_OPCODE[opcode]
        self.engine[self.multiplies & fp32] = ENGINES.index("vector")
        self.transfers: Flags = IS_DMA[self.engine]
        self.has_lanes: Flags = HAS_LANES[self.engine]
        self.transfer = TransferColumns(records, self.boxes)
        self.compute = ComputeColumns(records, np.flatnonzero(self.computes), self.boxes, target)
        self._set_rates(records)

    def _set_rates(self, records: NDArray[Any]) -> None:
        """Elements that records take at once, and the cycles that this takes."""
        target = self.target
        rates = {
            "vector": target.vector_elements_per_cycle,
            "converter": target.converter_elements_per_cycle,
            "lightnorm": target.lightnorm_elements_per_cycle,
        }
        opcode = records["opcode"]
        self.rate: Integers = np.array([rates.get(engine, 1) for engine in ENGINES], np.int64)[self.engine]
        # The last two dimensions of statistics are those of a state, which an element goes into as a whole.
        self.rows: Integers = np.ones(len(records), np.int64)
        statistics = np.flatnonzero(opcode == Opcode.STATISTICS)
        last = records["used_dims"][statistics, np.newaxis] - np.arange(1, 3)
        self.rows[statistics] = records["dim"]["count"][statistics[:, np.newaxis], last].prod(axis=1)
        self.rate *= self.rows
        of_function = np.array([target.vector_cycles.cycles_of(one.name) for one in FUNCTIONS], np.int64)
        self.cycles_at_once: Integers = np.ones(len(records), np.int64)
        self.cycles_at_once[opcode == Opcode.SCATTER] = target.vector_cycles.cycles_of("add")
        calls = opcode == Opcode.VECTOR
        self.cycles_at_once[calls] = of_function[records["function"][calls]]

    def all_cases(self) -> CostColumns:
        """The costs of every case."""
        boxes = self.boxes
        is_cut = self.computes[:, np.newaxis] & CUT[: boxes.count.shape[1]]
        moving = boxes.moving(boxes.clippable | is_cut)
        cases = boxes.cases(moving)
        bases = boxes.bases(cases)
        apart = self.computes[cases.record] | boxes.leaves(cases.record, bases)
        # Of cases of a record that have nothing outside, and are not cut, the first stands for all.
        alike = np.flatnonzero(~apart)
        is_first = np.diff(cases.record[alike], prepend=-1) != 0
        stands_for = np.arange(len(apart))
        stands_for[alike] = alike[is_first][np.cumsum(is_first) - 1]
        costs = np.zeros((len(apart), 4), np.int64)
        for case in self._parts(np.flatnonzero(stands_for == np.arange(len(apart))), cases.record):
            costs[case] = self._costs(boxes.insides(cases.record[case], bases[case]), bases[case])
        return CostColumns(self.engine, moving, cases.first, *costs[stands_for].T)

    def _parts(self, cases: Integers, record: Integers) -> Iterator[Integers]:
        """``cases``, of records, in parts that are not too large.

        Those of one core are apart, and so are contractions, which have more dimensions.
        """
        cores = self.boxes.cores[record[cases]]
        kind = (cores > 1) + 2 * self.computes[record[cases]]
        for part in (cases[kind == one] for one in range(4)):
            most = max(1, MOST_CORES // int(self.boxes.cores[record[part]].max(initial=1)))
            for first in range(0, len(part), most):
                yield part[first : first + most]

    def _costs(self, insides: Insides, bases: Integers) -> Integers:
        """Cycles, MACs, bytes moved and lane cycles [rows, 4].

        Element 0 of core 0 is at ``bases`` [rows, dimensions].
        """
        record, elements = insides.record, insides.elements
        costs = np.zeros((len(record), 4), np.int64)
        costs[:, 0] = -(-elements // self.rate[record]) * self.cycles_at_once[record]
        costs[:, 1] = np.where(self.multiplies[record], elements, 0)
        on_lanes = elements // self.rows[record] * self.cycles_at_once[record]
        costs[:, 3] = np.where(self.has_lanes[record], on_lanes, 0)
        row = np.flatnonzero(self.transfers[record])
        if len(row):
            moved = self.transfer.moved_bytes(insides.rows(row))
            cycles = np.ceil(moved / self.target.dram_bytes_per_cycle)
            costs[row, 0] = self.target.dram_latency_cycles + cycles
            costs[row, 2] = moved
        row = np.flatnonzero(self.computes[record])
        if len(row):
            costs[row, 0] = self.compute.cycles(insides.rows(row), bases[row])
        return costs
