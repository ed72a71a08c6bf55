"""Records as Python numbers, decoded all at once: reading fields of NumPy records one by one takes longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import DIM, OPCODES, OPERAND, RECORD, Addressing, Format, Opcode

DecodedRecord: TypeAlias = dict[str, Any]
"""The fields of ``isa.RECORD_FIELDS`` by name. ``dim`` and ``operand`` are their fields by name, each a list
over the dimensions and the operands; records of opcodes without operands have neither."""

FORMATS, ADDRESSINGS = tuple(Format), tuple(Addressing)
"""By code: a look-up takes a fraction of the time that a call of the enumeration does."""
OPCODE_OF_CODE = {int(opcode): opcode for opcode in Opcode}


def take_records(records: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """Some of ``records`` [n], as by indexing them, which goes field by field and takes longer."""
    whole = np.ascontiguousarray(records).view(f"V{records.dtype.itemsize}")
    return whole[index].view(records.dtype)


def decode_records(records: NDArray[Any]) -> list[DecodedRecord]:
    """Records [n] of dtype ``isa.RECORD``."""
    decoded = rows_of(records, [name for name in RECORD.names or () if name not in ("dim", "operand")])
    with_operands = [opcode for opcode, spec in OPCODES.items() if spec.operands]
    boxed = np.flatnonzero(np.isin(records["opcode"], with_operands))
    for part, dtype in (("dim", DIM), ("operand", OPERAND)):
        of_boxed = rows_of(records[part][boxed], dtype.names or ())
        for index, fields in zip(boxed.tolist(), of_boxed, strict=True):
            decoded[index][part] = fields
    return decoded


def rows_of(records: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The named fields of structured ``records`` [n] as Python values."""
    columns = [records[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
