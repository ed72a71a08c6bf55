"""Whether records mean something: the checks that do not depend on what is in the memories.

Every field that means nothing to its opcode is zero; every other is one of the values it may have. What
depends on slots (addresses, spaces, what was written) is checked when a record is executed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.decode import OPCODE_OF_CODE, DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import (
    DIMS,
    LOOP_LEVELS,
    NO_SLOT,
    OPCODES,
    OPERANDS,
    RECORD_FIELDS,
    Addressing,
    Format,
    Opcode,
)
from flexc.backends.stream.loops import Node, trips_of_records
from flexc.backends.stream.verify_opcodes import CHECKS

Records = NDArray[Any]


def verify(records: Records, decoded: list[DecodedRecord], tree: list[Node], cores: int) -> None:
    """Check every record of a program for a machine of ``cores`` cores.

    ``decoded`` are the same records, ``tree`` the program's loops.

    Raises StreamFault naming the first record that is wrong.
    """
    depth = np.zeros(len(records), np.int64)
    for index, trips in trips_of_records(tree):
        depth[index] = len(trips)
    _require(records, np.isin(records["opcode"], list(Opcode)), "an opcode that does not exist")
    _check_unused_fields(records)
    _check_dims(records, depth, cores)
    _check_operands(records)
    for index, record in enumerate(decoded):
        opcode = OPCODE_OF_CODE[record["opcode"]]
        check = CHECKS.get(opcode)
        if check is None:
            continue
        try:
            check(record, int(depth[index]))
        except StreamFault as fault:
            raise fault.at(record=index, opcode=opcode.name.lower()) from None


def _require(records: Records, good: NDArray[np.bool_], message: str) -> None:
    """Raises StreamFault for the first record where ``good`` [records, ...] does not hold throughout."""
    by_record = good.reshape(len(records), -1).all(axis=1)
    if by_record.all():
        return
    index = int(np.argmin(by_record))
    opcode = int(records[index]["opcode"])
    name = Opcode(opcode).name.lower() if opcode in Opcode.__members__.values() else str(opcode)
    raise StreamFault(message, record=index, opcode=name)


def _check_unused_fields(records: Records) -> None:
    for field in RECORD_FIELDS:
        if field.name == "opcode":
            continue
        users = [opcode for opcode, spec in OPCODES.items() if field.name in spec.fields]
        used = np.isin(records["opcode"], users)
        zero = (records[field.name] == 0).reshape(len(records), -1).all(axis=1)
        _require(records, used | zero, f"field {field.name} means nothing here and is not zero")


def _bytes_of(records: Records, name: str, entries: int) -> NDArray[np.uint8]:
    """The dimensions or operands of each record as bytes [records, entries, bytes]."""
    return np.ascontiguousarray(records[name]).view(np.uint8).reshape(len(records), entries, -1)


def _check_dims(records: Records, depth: NDArray[np.int64], cores: int) -> None:
    dims = records["dim"]
    _require(records, records["used_dims"] <= DIMS, f"more than {DIMS} dimensions")
    used = np.arange(DIMS) < records["used_dims"][:, np.newaxis]
    blank = ~_bytes_of(records, "dim", DIMS).any(axis=2)
    _require(records, used | blank, "a dimension beyond used_dims is not zero")
    _require(records, ~used | (dims["count"] >= 1), "a dimension of no elements")
    _require(records, ~used | (dims["step"] != 0), "a dimension of step zero")
    _require(records, ~used | (dims["limit"] >= 1), "a dimension without an inside")
    moving = np.isin(records["opcode"], (Opcode.LOAD, Opcode.GATHER, Opcode.STORE))
    _require(
        records,
        moving[:, np.newaxis] | ~used | (dims["step"] == 1),
        "a step other than 1 without DRAM",
    )
    inner = np.arange(LOOP_LEVELS) >= depth[:, np.newaxis]
    _require(
        records,
        ~inner[:, np.newaxis, :] | (dims["loop"] == 0),
        "a dimension moves with a loop that is not there",
    )
    grid = records["core_grid"].astype(np.int64)
    boxed = np.isin(records["opcode"], [op for op, spec in OPCODES.items() if "core_grid" in spec.fields])
    _require(records, ~boxed[:, np.newaxis] | (grid >= 1), "a core axis without cores")
    _require(records, grid.prod(axis=1) <= cores, f"more cores than the machine's {cores}")
    _require(
        records,
        (grid[:, np.newaxis, :] > 1) | (dims["core"] == 0),
        "a dimension moves along a core axis of one core",
    )


def _check_operands(records: Records) -> None:
    operands = records["operand"]
    named = np.zeros(len(records), np.int64)
    for opcode, spec in OPCODES.items():
        named[records["opcode"] == opcode] = len(spec.operands)
    present = operands["slot"] != NO_SLOT
    place = np.arange(OPERANDS)
    position = (records["opcode"] == Opcode.CONVERT)[:, np.newaxis] & (place == 3)
    _require(records, ~present | (place < named[:, np.newaxis]), "an operand that the opcode does not have")
    rest = _bytes_of(records, "operand", OPERANDS)[..., operands.dtype["slot"].itemsize :].any(axis=2)
    _require(records, present | position | ~rest, "an operand without a slot is not zero otherwise")
    _require(records, operands["format"] < len(Format), "a format that does not exist")
    _require(records, operands["addressing"] < len(Addressing), "an addressing that does not exist")
    step = np.where(records["dim"]["step"] == 0, 1, records["dim"]["step"])
    dense = (records["dim"]["core"] % step[..., np.newaxis] == 0).reshape(len(records), -1).all(axis=1)
    striped = (present & (operands["addressing"] == Addressing.CHIP)).any(axis=1)
    _require(records, dense | ~striped, "cores are apart by part of a step, with chip addresses")
    unused = np.arange(DIMS) >= records["used_dims"][:, np.newaxis]
    _require(
        records,
        ~unused[:, np.newaxis, :] | (operands["stride"] == 0),
        "a stride of a dimension that is not used",
    )
