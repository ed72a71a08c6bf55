"""Costs of all records at once are those of one record after the other."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexc.backends.stream import cost_columns as columns_module
from flexc.backends.stream.columns import label_rows
from flexc.backends.stream.cost_columns import cost_columns
from flexc.backends.stream.decode import decode_records
from flexc.backends.stream.isa import (
    ENGINES,
    LOOP_LEVELS,
    NO_LIMIT,
    OPCODES,
    Addressing,
    Format,
    Opcode,
    blank_records,
)
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.backends.stream.record_costs import RecordCost
from flexc.backends.stream.segments import GroupAxis, cut_segments, segment_lengths
from flexc.target import load_target

TARGET = load_target("flexblock-edge")
TIMED = [opcode for opcode, spec in OPCODES.items() if spec.engine != "control"]


class RandomRecords:
    """Records of random fields, from a seed: hypothesis takes long to draw so many."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def _choice(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def trips(self) -> tuple[int, ...]:
        """Trip counts of up to three loops."""
        return tuple(self._random.randint(1, 3) for _ in range(self._random.randint(0, 3)))

    def record(self, opcode: Opcode, trips: tuple[int, ...]) -> NDArray[Any]:
        """A record [1] under loops of these trips."""
        record = blank_records(1)
        record["opcode"] = opcode
        if opcode is Opcode.COMPUTE:
            self._box(record[0], 8, trips, steps=False)
            self._compute(record[0])
            return record
        dims = self._random.randint(3 if opcode is Opcode.STATISTICS else 1, 6)
        self._box(record[0], dims, trips, steps=opcode in (Opcode.LOAD, Opcode.GATHER, Opcode.STORE))
        record["function"] = self._random.randint(0, len(FUNCTIONS) - 1) if opcode is Opcode.VECTOR else 0
        for place in range(len(OPCODES[opcode].operands)):
            operand = record["operand"][0, place]
            operand["slot"] = place
            operand["format"] = self._random.choice(list(Format))
            operand["addressing"] = self._choice(Addressing.GLOBAL, Addressing.GLOBAL, Addressing.CHIP)
            operand["stride"][:dims] = [self._choice(0, 8) for _ in range(dims)]
        return record

    def _box(self, record: Any, dims: int, trips: tuple[int, ...], *, steps: bool) -> None:
        """A box that is cut at either end, in some cores and some iterations, or not at all."""
        grid = self._choice((1, 1, 1), (1, 1, 3), (2, 1, 2), (1, 3, 2))
        record["used_dims"] = dims
        record["core_grid"] = grid
        for d in range(dims):
            entry = record["dim"][d]
            entry["count"] = self._random.randint(1, 5)
            # Of eight dimensions, nearly all boxes would be empty if each were as likely to be cut.
            cut = dims <= 5 or self._random.random() < 0.2
            entry["start"] = self._random.randint(-4, 4) if cut else 0
            entry["step"] = self._choice(-2, -1, 1, 2, 3) if steps else 1
            entry["limit"] = self._choice(1, 3, 6, 9, NO_LIMIT, NO_LIMIT) if cut else NO_LIMIT
            entry["loop"][: len(trips)] = [self._choice(0, 0, 1, 3, -2 * cut) for _ in trips]
            entry["core"] = [0 if cores == 1 else self._choice(0, 0, 2, 4) for cores in grid]

    def _compute(self, record: Any) -> None:
        formats = record["operand"]["format"]
        formats[:5] = [Format.F32, Format.M8, Format.E8, Format.M8, Format.E8]
        formats[[1, 3]] = self._choice(Format.M8, Format.M8, Format.M4, Format.F32)
        record["lane"] = self._choice((5, 12), (5, 3), (4, 2))
        record["unit"] = self._choice((4, 2), (2, 2), (3, 1))
        record["pe"] = self._choice(((0, 5, 3), (1, 6, 3)), ((1, 5, 9), (0, 0, 0)), ((2, 4, 3), (1, 7, 3)))
        record["stream"] = self._random.randint(0, 1)
        for name in "ab":
            record[f"{name}_group"] = self._random.randint(1, 4)
            record[f"{name}_axis"] = self._choice((0, 1), (1, 0), (3, 1), (0, 2))


def assert_same_costs(records: NDArray[Any], trips: list[tuple[int, ...]]) -> None:
    padded = np.array([(*one, *(1,) * (LOOP_LEVELS - len(one))) for one in trips])
    found = cost_columns(records, padded, TARGET)
    for place, (record, (first, end)) in enumerate(
        zip(decode_records(records), pairwise(found.first.tolist()), strict=True)
    ):
        reference = RecordCost(record, trips[place], TARGET)
        assert ENGINES[found.engine[place]] == reference.engine
        counters = np.ndindex(*np.where(found.moving[place], padded[place], 1))
        for case, counter in zip(range(first, end), counters, strict=True):
            cost = reference.cost(list(counter))
            moved = cost.read_bytes + cost.written_bytes
            in_columns = (found.cycles, found.macs, found.moved_bytes, found.lane_cycles)
            expected = (cost.cycles, cost.macs, moved, cost.lane_cycles)
            assert tuple(column[case] for column in in_columns) == expected, (record, counter)


@pytest.mark.parametrize("opcode", TIMED)
def test_against_one_record_at_a_time(opcode: Opcode) -> None:
    random = RandomRecords(opcode)
    trips = [random.trips() for _ in range(150)]
    assert_same_costs(np.concatenate([random.record(opcode, one) for one in trips]), trips)


def test_boxes_without_dimensions_have_an_element_in_each_core() -> None:
    records = blank_records(2)
    records["opcode"] = Opcode.VECTOR
    records["core_grid"] = (1, 1, 2), (3, 1, 2)
    assert_same_costs(records, [(), ()])


def test_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "MOST_CORES", 1)
    random = RandomRecords(99)
    trips = [random.trips() for _ in TIMED]
    records = [random.record(opcode, one) for opcode, one in zip(TIMED, trips, strict=True)]
    assert_same_costs(np.concatenate(records), trips)


AXES = st.builds(GroupAxis, st.integers(0, 3), st.integers(0, 3), st.integers(1, 6), st.booleans())


@given(AXES, AXES, st.integers(-3, 9), st.integers(1, 4), st.integers(0, 20), st.integers(1, 12))
def test_segment_lengths_are_those_of_the_cuts(
    a: GroupAxis, b: GroupAxis, g_first: int, g_count: int, k_first: int, k_count: int
) -> None:
    cut = cut_segments(a, b, g_first + np.arange(g_count), k_first + np.arange(k_count)).segments
    blocks = sorted({segment.g_first for segment in cut})
    expected = tuple(
        tuple(segment.end - segment.first for segment in cut if segment.g_first == block) for block in blocks
    )
    assert segment_lengths(a, b, g_first, g_count, k_first, k_count) == expected


@given(
    st.lists(st.tuples(*[st.integers(-(1 << 30), 1 << 30) | st.integers(0, 1)] * 4), min_size=1, max_size=8)
)
def test_labels_tell_rows_apart(rows: list[tuple[int, ...]]) -> None:
    # Four columns of 31 bits do not fit one number.
    labels = label_rows(list(np.array(rows, np.int64).T)).tolist()
    assert [labels.index(label) for label in labels] == [rows.index(row) for row in rows]
