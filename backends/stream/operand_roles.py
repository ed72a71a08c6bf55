"""Which of its operands a record writes: it reads the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import OPCODES, OPERANDS, Opcode

WRITTEN: dict[Opcode, tuple[str, ...]] = {
    Opcode.LOAD: ("dst",),
    Opcode.GATHER: ("dst",),
    Opcode.STORE: ("dst",),
    Opcode.COMPUTE: ("acc",),
    Opcode.CONVERT: ("mantissa", "exponent"),
    Opcode.VECTOR: ("dst",),
    Opcode.NORM: ("dst",),
    Opcode.STATISTICS: ("state",),
    Opcode.SUMMARIZE: ("mean", "range", "scale", "gamma_q"),
    Opcode.NARROW: ("dst",),
    Opcode.CONSTANTS: ("mean", "scale", "gamma_q"),
    Opcode.EXTREMA: ("dst",),
    Opcode.SCATTER: ("dst",),
}
"""The names of operands that a record with an engine writes."""


def _is_written() -> NDArray[np.bool_]:
    found = np.zeros((len(Opcode), OPERANDS), bool)
    for opcode, names in WRITTEN.items():
        found[opcode, [OPCODES[opcode].operands.index(name) for name in names]] = True
    return found


IS_WRITTEN = _is_written()
"""By code and place [opcodes, OPERANDS], whether the operand there is one of them."""
