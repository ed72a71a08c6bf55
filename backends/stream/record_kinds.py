"""Kinds of records: those that are alike but for where their operands and slots lie.

Most records of a program do what an earlier one does, elsewhere in memory. Checks and costs do not depend on
where that is, so they are worked out once for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.columns import Integers
from flexc.backends.stream.decode import take_records
from flexc.backends.stream.isa import LOOP_LEVELS, NO_SLOT, OPCODES, RECORD, RECORD_FIELDS, blank_records
from flexc.backends.stream.loops import LoopRange, trips_by_level

Words: TypeAlias = NDArray[np.uint64]

HEAD = np.dtype(RECORD.descr[: len(RECORD_FIELDS)])
BODY = np.dtype(RECORD.descr[len(RECORD_FIELDS) :])
"""A record before its dimensions, and its dimensions and operands."""
HEAD_WORDS, BODY_WORDS = HEAD.itemsize // 8, BODY.itemsize // 8
BLANK_BODY: Words = blank_records(1).view(np.uint64)[HEAD_WORDS:]
HAS_BODY = np.ones(256, bool)
HAS_BODY[[opcode for opcode, spec in OPCODES.items() if not spec.operands]] = False
"""By code, whether there are dimensions and operands."""
_FACTORS: Words = np.random.default_rng(0).integers(
    1 << 63, size=HEAD_WORDS + LOOP_LEVELS + BODY_WORDS, dtype=np.uint64
)


@dataclass(frozen=True)
class RecordKinds:
    """The kinds of a program's records, in the order in which the first record of each comes."""

    records: NDArray[Any]
    """The first record of each [kinds], of dtype ``isa.RECORD``. Of registers only remains whether there is
    one, and whether its number is zero; of addresses, offsets and sizes of slots, whether they are zero."""
    first: Integers
    """The index of that record in the program [kinds], ascending."""
    trips: Integers
    """Trip counts [kinds, LOOP_LEVELS] of the loops around it, 0 where there is none."""
    kind: Integers
    """The kind of each record of the program [records]."""


def record_kinds(records: NDArray[Any], loops: list[LoopRange]) -> RecordKinds:
    """The kinds of ``records`` [records]; those under loops of other trip counts are of other kinds."""
    words = np.ascontiguousarray(records).view(np.uint64).reshape(len(records), -1)
    trips = trips_by_level(loops, len(records))
    has_body = HAS_BODY[records["opcode"]]
    without = np.flatnonzero(~has_body)
    has_body[without] = (words[without, HEAD_WORDS:] != BLANK_BODY).any(axis=1)
    boxed = np.flatnonzero(has_body)
    heads = words[:, :HEAD_WORDS].copy()
    _reduce_head(heads.view(HEAD))
    heads = np.concatenate([heads, trips.view(np.uint64)], axis=1)
    bodies = words[boxed, HEAD_WORDS:]
    _reduce_operands(bodies.view(BODY)["operand"])
    first, kind = _alike(heads, bodies, boxed)
    found = take_records(records, first)
    _reduce_head(found)
    _reduce_operands(found["operand"])
    return RecordKinds(found, first, trips[first], kind)


def _reduce_head(records: NDArray[Any]) -> None:
    """Leave of registers, addresses and sizes what :attr:`RecordKinds.records` has."""
    records["slot"] = np.where(records["slot"] == NO_SLOT, NO_SLOT, records["slot"] != 0)
    for name in ("address_bytes", "size_bytes"):
        records[name] = records[name] != 0


def _reduce_operands(operands: NDArray[Any]) -> None:
    """As ``_reduce_head``, of operands."""
    operands["slot"] = np.where(operands["slot"] == NO_SLOT, NO_SLOT, 0)
    operands["offset"] = operands["offset"] != 0


def _alike(heads: Words, bodies: Words, boxed: Integers) -> tuple[Integers, Integers]:
    """The first record of each kind, ascending, and the kind of each record.

    ``heads`` are of all records [records, words], ``bodies`` of those that are ``boxed`` [boxed, words].
    """
    digest = np.einsum("rw,w->r", heads, _FACTORS[: heads.shape[1]])
    digest[boxed] += np.einsum("rw,w->r", bodies, _FACTORS[heads.shape[1] :])
    _, first, kind = np.unique(digest, return_index=True, return_inverse=True)
    order = np.argsort(first)
    first, kind = first[order], np.argsort(order)[kind]
    place = np.full(len(heads), -1)
    place[boxed] = np.arange(len(boxed))
    leader = first[kind]
    alike = np.array_equal(heads, heads[leader]) and np.array_equal(place < 0, place[leader] < 0)
    if alike and np.array_equal(bodies, bodies[place[leader[boxed]]]):
        return first, kind
    # Different records have one digest: every record is taken for a kind.
    every = np.arange(len(heads))
    return every, every
