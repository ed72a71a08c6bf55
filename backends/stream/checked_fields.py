"""What the checks of opcodes read of records, so that alike records are checked once.

Registers, sizes and strides differ in nearly every record, but only some of it can be wrong: whether there is
a register, whether a size or a stride is zero. Here are the fields with no more of them than that. Checks are
given nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.decode import DecodedRecord, rows_of
from flexc.backends.stream.isa import DIMS, NO_SLOT, OPERANDS, RECORD, Opcode

AS_THEY_ARE = (
    "opcode", "function", "used_dims", "reduced_dims", "axis", "immediate", "space", "per_core", "keep",
    "depth", "whole_axis", "init_loops", "stream", "lane", "unit", "pe",
)  # fmt: skip
SIGNS = ("immediate_int", "size_bytes", "a_group", "b_group", "a_axis", "b_axis", "seed", "stream_number")
"""Fields of which the sign remains: -1, 0 or 1."""
CHECKED_OPERAND = np.dtype(
    [("present", "?"), ("format", "u1"), ("addressing", "u1"), ("offset", "?"), ("stride", "?", (DIMS,))]
)
"""Whether there is an operand, and whether its offset and its strides are other than zero."""
CHECKED = np.dtype(
    [
        *((name, RECORD[name].base, RECORD[name].shape) for name in AS_THEY_ARE),
        *((name, "i1", RECORD[name].shape) for name in SIGNS),
        ("has_slot", "?"),
        ("spread", "?"),
        ("loops", "u1"),
        ("last_count", "u4"),
        ("operand", CHECKED_OPERAND, (OPERANDS,)),
    ]
)
"""``has_slot``: a register is named; ``spread``: over several cores; ``loops``: those around the record;
``last_count``: of a record on the state of LightNorm, the extent of its last dimension."""


def by_code(*opcodes: Opcode) -> NDArray[np.bool_]:
    """By code, whether it is one of these opcodes."""
    return np.isin(np.arange(len(Opcode)), opcodes)


TRANSFERS = (Opcode.LOAD, Opcode.GATHER, Opcode.STORE)
WITH_LOOPS = by_code(Opcode.SLOT, Opcode.COMPUTE, Opcode.STATISTICS)
WITH_CORES = ~by_code(*TRANSFERS, Opcode.VECTOR, Opcode.COMPUTE, Opcode.CONVERT, Opcode.NORM)
WITH_OFFSET = by_code(Opcode.CONVERT)
WITH_STRIDES = ~by_code(*TRANSFERS, Opcode.VECTOR)
"""By code, whether its check reads ``loops``, ``spread``, and the offsets and strides of operands."""
ON_STATE = by_code(Opcode.STATISTICS, Opcode.SUMMARIZE)


def checked_fields(records: NDArray[Any], depth: NDArray[np.int64]) -> NDArray[Any]:
    """The fields [records] of dtype CHECKED; ``depth`` [records] counts the loops around each.

    Opcodes of ``records`` have to exist.
    """
    found = np.zeros(len(records), CHECKED)
    for name in AS_THEY_ARE:
        found[name] = records[name]
    for name in SIGNS:
        found[name] = np.sign(records[name])
    found["has_slot"] = records["slot"] != NO_SLOT
    opcodes = records["opcode"]
    found["spread"] = (records["core_grid"] > 1).any(axis=1) & WITH_CORES[opcodes]
    found["loops"] = np.where(WITH_LOOPS[opcodes], depth, 0)
    on_state = np.flatnonzero(ON_STATE[opcodes] & (records["used_dims"] > 0))
    found["last_count"][on_state] = records["dim"]["count"][on_state, records["used_dims"][on_state] - 1]
    operand, checked = records["operand"], found["operand"]
    checked["present"] = operand["slot"] != NO_SLOT
    for name in ("format", "addressing"):
        checked[name] = operand[name]
    for name, is_checked in (
        ("offset", WITH_OFFSET[opcodes]),
        ("stride", WITH_STRIDES[opcodes]),
    ):
        checked[name][is_checked] = operand[name][is_checked] != 0
    return found


def different_records(fields: NDArray[Any]) -> Iterator[tuple[int, DecodedRecord]]:
    """The first record of each kind in ``fields`` [records] of dtype CHECKED, with its index."""
    content, size = fields.tobytes(), fields.itemsize
    first: dict[bytes, int] = {}
    for index in range(len(fields)):
        first.setdefault(content[index * size : (index + 1) * size], index)
    indices = list(first.values())
    different = fields[indices]
    records = rows_of(different, [name for name in CHECKED.names or () if name != "operand"])
    operands = rows_of(different["operand"], CHECKED_OPERAND.names or ())
    for index, record, operand in zip(indices, records, operands, strict=True):
        record["operand"] = operand
        yield index, record
