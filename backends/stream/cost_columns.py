"""What executions of many records cost, worked out at once.

The same numbers as ``record_costs``, which does one record and is what this is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.box_columns import BoxColumns, Flags, Insides, Integers
from flexc.backends.stream.compute_columns import ComputeColumns
from flexc.backends.stream.isa import COMPUTE_DIMS, DIMS, ENGINES, OPCODES, Engine, Format, Opcode
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.backends.stream.transfer_columns import TransferColumns
from flexc.target.machine import Target

MOST_CORES = 1 << 16
"""Cores of cases that are worked on at once, which bounds the memory that it takes."""
ENGINE_OF_OPCODE = np.zeros(max(Opcode) + 1, np.int64)
for _opcode, _spec in OPCODES.items():
    if _spec.engine in ENGINES:
        ENGINE_OF_OPCODE[_opcode] = ENGINES.index(_spec.engine)
LANED_ENGINES: tuple[Engine, ...] = ("vector", "converter", "lightnorm")
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
    def __init__(self, records: NDArray[Any], trips: Integers, target: Target) -> None:
        self.target = target
        self.boxes = BoxColumns(records, trips)
        opcode = records["opcode"]
        fp32 = records["operand"]["format"][:, 1] == Format.F32
        self.multiplies: Flags = opcode == Opcode.COMPUTE
        self.on_cores = np.flatnonzero(self.multiplies & ~fp32)
        self.engine = ENGINE_OF_OPCODE[opcode]
        self.engine[self.multiplies & fp32] = ENGINES.index("vector")
        self.transfers = np.isin(self.engine, [ENGINES.index("dma_in"), ENGINES.index("dma_out")])
        self.has_lanes: Flags = np.isin(self.engine, [ENGINES.index(name) for name in LANED_ENGINES])
        self.transfer = TransferColumns(records, self.boxes)
        self.compute = ComputeColumns(records, self.on_cores, self.boxes, target)
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
        # The last dimension of statistics is rows of one result, which an element goes into together.
        self.rows: Integers = np.where(opcode == Opcode.STATISTICS, self.boxes.count[:, 3], 1)
        self.rate *= self.rows
        of_function = np.array([target.vector_cycles.cycles_of(one.name) for one in FUNCTIONS], np.int64)
        self.cycles_at_once: Integers = np.ones(len(records), np.int64)
        self.cycles_at_once[opcode == Opcode.SCATTER] = target.vector_cycles.cycles_of("add")
        calls = opcode == Opcode.VECTOR
        self.cycles_at_once[calls] = of_function[records["function"][calls]]

    def all_cases(self) -> CostColumns:
        boxes = self.boxes
        moving = boxes.moving(boxes.clippable)
        moving[self.on_cores] |= boxes.moving(np.broadcast_to(CUT, boxes.count.shape))[self.on_cores]
        cases = boxes.cases(moving)
        every = np.arange(len(boxes))
        whole = self._costs(every, boxes.count.prod(axis=1) * boxes.cores)
        for record in self._parts(np.flatnonzero(self.transfers), every):
            self._set_transfers(whole, record, boxes.whole(record))
        costs = whole[cases.record]
        bases = boxes.bases(cases)
        computes = np.isin(cases.record, self.on_cores)
        for case in self._parts(np.flatnonzero(computes | boxes.leaves(cases.record, bases)), cases.record):
            insides = boxes.insides(cases.record[case], bases[case])
            costs[case] = self._costs(insides.record, insides.elements)
            mine = self.transfers[insides.record]
            self._set_transfers(costs, case[mine], insides.rows(mine))
            mine = computes[case]
            costs[case[mine], 0] = self.compute.cycles(insides.rows(mine), bases[case[mine]])
        return CostColumns(self.engine, moving, cases.first, *costs.T)

    def _parts(self, rows: Integers, record: Integers) -> Iterator[Integers]:
        """``rows``, of records, in parts that are not too large; those of one core apart."""
        cores = self.boxes.cores[record[rows]]
        for part in (rows[cores == 1], rows[cores > 1]):
            most = max(1, MOST_CORES // int(cores.max(initial=1)))
            for first in range(0, len(part), most):
                yield part[first : first + most]

    def _costs(self, record: Integers, elements: Integers) -> Integers:
        """Cycles and lane cycles (of the engines with a rate), MACs and bytes moved [rows, 4]."""
        costs = np.zeros((len(record), 4), np.int64)
        costs[:, 0] = -(-elements // self.rate[record]) * self.cycles_at_once[record]
        costs[:, 1] = np.where(self.multiplies[record], elements, 0)
        on_lanes = elements // self.rows[record] * self.cycles_at_once[record]
        costs[:, 3] = np.where(self.has_lanes[record], on_lanes, 0)
        return costs

    def _set_transfers(self, costs: Integers, row: Integers, insides: Insides) -> None:
        """Fill in the costs of DMA transfers."""
        moved = self.transfer.moved_bytes(insides)
        costs[row, 0] = self.target.dram_latency_cycles + np.ceil(moved / self.target.dram_bytes_per_cycle)
        costs[row, 2] = moved
