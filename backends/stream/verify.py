"""Whether records mean something: the checks that do not depend on what is in the memories.

Every field that means nothing to its opcode is zero; every other is one of the values it may have. What
depends on slots (addresses, spaces, what was written) is checked when a record is executed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.checked_fields import TRANSFERS, by_code, checked_fields, different_records
from flexc.backends.stream.columns import Flags, Integers
from flexc.backends.stream.decode import OPCODE_OF_CODE
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import (
    DIMS,
    LOOP_LEVELS,
    NO_SLOT,
    OPCODES,
    OPERANDS,
    RECORD,
    RECORD_FIELDS,
    Addressing,
    Format,
    Opcode,
)
from flexc.backends.stream.loops import loop_ranges
from flexc.backends.stream.record_kinds import RecordKinds, record_kinds
from flexc.backends.stream.verify_opcodes import CHECKS

Records = NDArray[Any]

USERS = {
    field.name: by_code(*(opcode for opcode, spec in OPCODES.items() if field.name in spec.fields))
    for field in RECORD_FIELDS
    if field.name != "opcode"
}
"""By field and code, whether the field means something to the opcode."""
NAMED_OPERANDS = np.array([len(OPCODES[opcode].operands) for opcode in sorted(Opcode)])
POSITION_PLACES = np.array(
    [
        OPCODES[opcode].operands.index("position") if "position" in OPCODES[opcode].operands else OPERANDS
        for opcode in sorted(Opcode)
    ]
)
"""The place of an operand that gives positions and has no slot, beyond all where there is none."""
FIRST_WORD = np.dtype(RECORD.descr[: len(RECORD_FIELDS)]).itemsize // 4
"""Words of four bytes before the dimensions and the operands, which are the end of a record."""


def _meaningless() -> NDArray[np.uint32]:
    """By code, the bits of those words that mean nothing to the opcode."""
    marked = np.zeros(len(Opcode), RECORD)
    for name, users in USERS.items():
        field = marked[name].view(f"u{marked[name].itemsize}")
        field[~users] = np.iinfo(field.dtype).max
    return marked.view(np.uint32).reshape(len(Opcode), -1)[:, :FIRST_WORD]


MEANINGLESS = _meaningless()
MOVING = by_code(*TRANSFERS)


def verify(records: Records, cores: int) -> None:
    """Check every record of a program for a machine of ``cores`` cores.

    Raises StreamFault naming the first record that is wrong, or for loops that do not nest.
    """
    verify_kinds(record_kinds(records, loop_ranges(records)), cores)


def verify_kinds(kinds: RecordKinds, cores: int) -> None:
    """Check the records of a program, one of each kind, for a machine of ``cores`` cores.

    Raises StreamFault naming the first record of the program that is wrong.
    """
    records, first = kinds.records, kinds.first
    depth = np.count_nonzero(kinds.trips, axis=1)
    _require(records, first, records["opcode"] < len(Opcode), "an opcode that does not exist")
    _check_unused_fields(records, first)
    _check_dims(records, first, depth, cores)
    _check_operands(records, first)
    for place, record in different_records(checked_fields(records, depth)):
        opcode = OPCODE_OF_CODE[record["opcode"]]
        check = CHECKS.get(opcode)
        if check is None:
            continue
        try:
            check(record)
        except StreamFault as fault:
            raise fault.at(record=int(first[place]), opcode=opcode.name.lower()) from None


def _require(records: Records, index: Integers, good: Flags, message: str) -> None:
    """Raises StreamFault for the first record where ``good`` [records, ...] does not hold throughout.

    ``index`` [records] counts the records in the program.
    """
    if good.all():
        return
    place = int(np.argmin(good.reshape(len(records), -1).all(axis=1)))
    opcode = int(records[place]["opcode"])
    name = Opcode(opcode).name.lower() if opcode in Opcode.__members__.values() else str(opcode)
    raise StreamFault(message, record=int(index[place]), opcode=name)


def _check_unused_fields(records: Records, index: Integers) -> None:
    opcodes = records["opcode"]
    words = np.ascontiguousarray(records).view(np.uint32).reshape(len(records), -1)[:, :FIRST_WORD]
    if not (words & MEANINGLESS[opcodes]).any():
        return
    for name, users in USERS.items():
        zero = (records[name] == 0).reshape(len(records), -1).all(axis=1)
        message = f"field {name} means nothing here and is not zero"
        _require(records, index, users[opcodes] | zero, message)


def _require_zero(
    records: Records, index: Integers, name: str, unused: Flags, first_word: int, message: str
) -> None:
    """Raises StreamFault unless those dimensions or operands are zero that are ``unused`` [records, entries].

    Words of two bytes are read from ``first_word`` on.
    """
    part = np.ascontiguousarray(records[name])
    words = part.view(np.uint16).reshape(*unused.shape, -1)[..., first_word:]
    if words[unused].any():
        _require(records, index, ~unused | ~words.any(axis=2), message)


def _check_dims(records: Records, index: Integers, depth: Integers, cores: int) -> None:
    opcodes = records["opcode"]
    dims = records["dim"]
    _require(records, index, records["used_dims"] <= DIMS, f"more than {DIMS} dimensions")
    unused = np.arange(DIMS) >= records["used_dims"][:, np.newaxis]
    _require_zero(records, index, "dim", unused, 0, "a dimension beyond used_dims is not zero")
    _require(records, index, unused | (dims["count"] >= 1), "a dimension of no elements")
    _require(records, index, unused | (dims["step"] != 0), "a dimension of step zero")
    _require(records, index, unused | (dims["limit"] >= 1), "a dimension without an inside")
    moving = MOVING[opcodes][:, np.newaxis]
    _require(records, index, moving | unused | (dims["step"] == 1), "a step other than 1 without DRAM")
    inner = np.arange(LOOP_LEVELS) >= depth[:, np.newaxis]
    _require(
        records,
        index,
        ~inner[:, np.newaxis, :] | (dims["loop"] == 0),
        "a dimension moves with a loop that is not there",
    )
    grid = records["core_grid"].astype(np.int64)
    boxed = USERS["core_grid"][opcodes][:, np.newaxis]
    _require(records, index, ~boxed | (grid >= 1), "a core axis without cores")
    _require(records, index, grid.prod(axis=1) <= cores, f"more cores than the machine's {cores}")
    _require(
        records,
        index,
        (grid[:, np.newaxis, :] > 1) | (dims["core"] == 0),
        "a dimension moves along a core axis of one core",
    )


def _check_operands(records: Records, index: Integers) -> None:
    operands = records["operand"]
    present = operands["slot"] != NO_SLOT
    place = np.arange(OPERANDS)
    named = place < NAMED_OPERANDS[records["opcode"]][:, np.newaxis]
    _require(records, index, ~present | named, "an operand that the opcode does not have")
    position = place == POSITION_PLACES[records["opcode"]][:, np.newaxis]
    blank = ~present & ~position
    _require_zero(records, index, "operand", blank, 1, "an operand without a slot is not zero otherwise")
    _require(records, index, operands["format"] < len(Format), "a format that does not exist")
    _require(records, index, operands["addressing"] < len(Addressing), "an addressing that does not exist")
    striped = np.flatnonzero((present & (operands["addressing"] == Addressing.CHIP)).any(axis=1))
    dims = records["dim"][striped]
    step = np.where(dims["step"] == 0, 1, dims["step"])
    dense = np.ones(len(records), bool)
    dense[striped] = (dims["core"] % step[..., np.newaxis] == 0).all(axis=(1, 2))
    _require(records, index, dense, "cores are apart by part of a step, with chip addresses")
    unused = np.arange(DIMS) >= records["used_dims"][:, np.newaxis]
    _require(
        records,
        index,
        ~unused[:, np.newaxis, :] | (operands["stride"] == 0),
        "a stride of a dimension that is not used",
    )
