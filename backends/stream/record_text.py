"""One record as text and back.

A line for the record, then one for each operand and each dimension::

    load grid=(1,2,2)
      dst r8 m8 local [4608,576,64,8]
      src r0 m8 global [50176,7168,128,8]
      dim 2 limit=2
      dim 5 start=-1 limit=7 loop=(0,4) core=(0,2)

Fields that are zero are left out; so are an offset of zero, a step of 1 and a limit that is none. The
dimensions of a compute record have their letters. A record that these lines cannot say (it is not legal) is
``raw`` and its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from flexc.backends.stream.isa import (
    COMPUTE_DIMS,
    DIM_FIELDS,
    DIMS,
    NO_LIMIT,
    OPCODES,
    RECORD,
    Addressing,
    Format,
    Opcode,
    OpcodeSpec,
    PeUse,
    Rounding,
    Space,
    blank_records,
)
from flexc.backends.stream.isa_functions import FUNCTION_CODES, FUNCTIONS

NO_REGISTER = "none"
_ROUNDED = (Opcode.CONVERT, Opcode.NORM, Opcode.STATISTICS, Opcode.SUMMARIZE, Opcode.NARROW, Opcode.CONSTANTS)
_DIM_DEFAULTS = {"step": 1, "limit": NO_LIMIT}
_FIELD = re.compile(r"([a-z_]+)=(\S+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")


class RecordTextError(ValueError):
    """Lines that are no record; ``line`` counts from that of the record itself, 0."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def print_record(record: Any) -> list[str]:
    """The lines of a record, which ``parse_record`` turns into the same bytes."""
    try:
        lines = _print(record)
        if parse_record(lines).tobytes() == record.tobytes():
            return lines
    except (ValueError, IndexError):
        # A field without a name: only bytes can say it.
        pass
    return [f"raw {record.tobytes().hex()}"]


def parse_record(lines: Sequence[str]) -> Any:
    """The record that lines say. Raises RecordTextError where they say none."""
    mnemonic, *words = lines[0].split()
    if mnemonic == "raw":
        return _parse_raw(words, len(lines))
    if mnemonic.upper() not in Opcode.__members__:
        raise RecordTextError(f"no opcode is called '{mnemonic}'")
    opcode = Opcode[mnemonic.upper()]
    spec = OPCODES[opcode]
    record = blank_records(1)[0]
    record["opcode"] = opcode
    if "function" in spec.fields and words and "=" not in words[0]:
        record["function"] = _function_code(opcode, words.pop(0))
    for word in words:
        _parse_field(record, opcode, spec, word)
    dims = 0
    for number, line in enumerate(lines[1:], 1):
        try:
            dims += _parse_part(record, opcode, spec, line.split(), dims)
        except RecordTextError as error:
            raise RecordTextError(str(error), number) from None
    record["used_dims"] = dims
    return record


def _print(record: Any) -> list[str]:
    opcode = Opcode(int(record["opcode"]))
    spec = OPCODES[opcode]
    words = [opcode.name.lower()]
    for name in spec.fields:
        value = record[name]
        if name == "function":
            rounded = opcode in _ROUNDED
            code = int(value)
            words.append(Rounding(code).name.lower() if rounded else FUNCTIONS[code].name)
        elif name == "slot" or (name != "used_dims" and np.asarray(value).tobytes().strip(b"\0")):
            words.append(f"{name}={_print_field(opcode, name, value)}")
    lines = [" ".join(words)]
    used = int(record["used_dims"])
    for name, operand in zip(spec.operands, record["operand"], strict=False):
        if operand.tobytes() != blank_records(1)[0]["operand"][0].tobytes():
            lines.append("  " + _print_operand(name, operand, used))
    for d in range(used):
        lines.append("  " + _print_dim(opcode, d, record["dim"][d]))
    return lines


def _print_field(opcode: Opcode, name: str, value: Any) -> str:
    if name == "space":
        return Space(int(value)).name.lower()
    if name == "slot":
        return f"r{int(value)}"
    if name in ("lane", "unit"):
        return f"({COMPUTE_DIMS[value[0]]},{int(value[1])})"
    if name == "pe":
        uses = value[: len(value) - (not value[-1].any())].tolist()
        return ",".join(f"({PeUse(use).name.lower()},{COMPUTE_DIMS[dim]},{pes})" for use, dim, pes in uses)
    if name == "immediate":
        return _tuple(repr(float(number)) for number in value)
    return str(int(value)) if np.ndim(value) == 0 else _tuple(str(int(number)) for number in value)


def _print_operand(name: str, operand: Any, used: int) -> str:
    slot = int(operand["slot"])
    register = NO_REGISTER if slot == blank_records(1)[0]["operand"][0]["slot"] else f"r{slot}"
    fmt, addressing = Format(int(operand["format"])), Addressing(int(operand["addressing"]))
    words = [name, register, fmt.name.lower(), addressing.name.lower()]
    if operand["offset"]:
        words.append(f"offset={int(operand['offset'])}")
    words.append("[" + ",".join(str(int(stride)) for stride in operand["stride"][:used]) + "]")
    return " ".join(words)


def _print_dim(opcode: Opcode, d: int, dim: Any) -> str:
    words = [COMPUTE_DIMS[d] if opcode is Opcode.COMPUTE else "dim", str(int(dim["count"]))]
    for field in DIM_FIELDS[1:]:
        value = dim[field.name]
        if field.shape:
            if value.any():
                numbers = [str(int(number)) for number in np.trim_zeros(value, "b")]
                words.append(f"{field.name}={_tuple(numbers)}")
        elif value != _DIM_DEFAULTS.get(field.name, 0):
            words.append(f"{field.name}={int(value)}")
    return " ".join(words)


def _tuple(words: Any) -> str:
    return "(" + ",".join(words) + ")"


def _parse_raw(words: list[str], lines: int) -> Any:
    try:
        content = bytes.fromhex(" ".join(words))
    except ValueError:
        raise RecordTextError("raw bytes are not hexadecimal") from None
    if lines != 1 or len(content) != RECORD.itemsize:
        raise RecordTextError(f"a raw record has {RECORD.itemsize} bytes and no other lines")
    return np.frombuffer(content, RECORD)[0]


def _function_code(opcode: Opcode, name: str) -> int:
    if opcode in _ROUNDED:
        return _member(Rounding, name)
    if name not in FUNCTION_CODES:
        raise RecordTextError(f"no function is called '{name}'")
    return FUNCTION_CODES[name]


def _parse_field(record: Any, opcode: Opcode, spec: OpcodeSpec, word: str) -> None:
    match = _FIELD.fullmatch(word)
    if match is None or match[1] not in spec.fields or match[1] in ("used_dims", "function"):
        raise RecordTextError(f"'{word}' is no field of {opcode.name.lower()}")
    name, text = match[1], match[2]
    if name == "space":
        record[name] = _member(Space, text)
    elif name == "slot":
        record[name] = _register(text)
    elif name == "pe":
        uses = [part.split(",") for part in text.removeprefix("(").removesuffix(")").split("),(")]
        if any(len(use) != 3 for use in uses) or len(uses) > len(record[name]):
            raise RecordTextError(f"'{text}' is no use of PEs")
        for place, (use, dim, factor) in enumerate(uses):
            _assign(record[name], place, [_member(PeUse, use), _letter(dim), _integer(factor)])
    elif name in ("lane", "unit"):
        dim, _, count = text.removeprefix("(").removesuffix(")").partition(",")
        _assign(record, name, [_letter(dim), _integer(count)])
    elif name == "immediate":
        _assign(record, name, [_real(part) for part in _parts(text, len(record[name]))])
    elif np.ndim(record[name]):
        _assign(record, name, [_integer(part) for part in _parts(text, len(record[name]))])
    else:
        _assign(record, name, _integer(text))


def _parse_part(record: Any, opcode: Opcode, spec: OpcodeSpec, words: list[str], dims: int) -> int:
    """An operand or a dimension; the number of dimensions that were read."""
    if words[0] in spec.operands:
        _parse_operand(record["operand"][spec.operands.index(words[0])], words[1:])
        return 0
    letter = COMPUTE_DIMS[dims : dims + 1] if opcode is Opcode.COMPUTE else "dim"
    if words[0] != letter or dims == DIMS or len(words) < 2:
        raise RecordTextError(f"'{words[0]}' is neither an operand nor the next dimension")
    dim = record["dim"][dims]
    _assign(dim, "count", _integer(words[1]))
    for name, value in _DIM_DEFAULTS.items():
        dim[name] = value
    for word in words[2:]:
        match = _FIELD.fullmatch(word)
        if match is None or match[1] not in dim.dtype.names:
            raise RecordTextError(f"'{word}' is no field of a dimension")
        name, text = match[1], match[2]
        if np.ndim(dim[name]):
            numbers = [_integer(part) for part in _parts(text, None)]
            _assign(dim, name, numbers + [0] * (len(dim[name]) - len(numbers)))
        else:
            _assign(dim, name, _integer(text))
    return 1


def _parse_operand(operand: Any, words: list[str]) -> None:
    if len(words) < 4 or len(words) > 5:
        raise RecordTextError("an operand is: name, register, format, addressing, offset=, [strides]")
    register, fmt, addressing, *offset, strides = words
    if register != NO_REGISTER:
        operand["slot"] = _register(register)
    operand["format"] = _member(Format, fmt)
    operand["addressing"] = _member(Addressing, addressing)
    if offset:
        if not offset[0].startswith("offset="):
            raise RecordTextError(f"'{offset[0]}' is no offset")
        _assign(operand, "offset", _integer(offset[0].removeprefix("offset=")))
    if not (strides.startswith("[") and strides.endswith("]")):
        raise RecordTextError(f"'{strides}' are no strides")
    numbers = [_integer(part) for part in strides[1:-1].split(",") if part]
    if len(numbers) > DIMS:
        raise RecordTextError(f"more than {DIMS} strides")
    _assign(operand, "stride", numbers + [0] * (DIMS - len(numbers)))


def _parts(text: str, length: int | None) -> list[str]:
    if not (text.startswith("(") and text.endswith(")")):
        raise RecordTextError(f"'{text}' is no list in parentheses")
    parts = text[1:-1].split(",")
    if length is not None and len(parts) != length:
        raise RecordTextError(f"'{text}' has {len(parts)} entries instead of {length}")
    return parts


def _assign(target: Any, name: str | int, value: Any) -> None:
    try:
        target[name] = value
    except (OverflowError, ValueError):
        raise RecordTextError(f"{value} does not fit field {name}") from None


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise RecordTextError(f"'{text}' is no integer")
    return int(text)


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RecordTextError(f"'{text}' is no number") from None


def _register(text: str) -> int:
    if not text.startswith("r") or not text[1:].isdecimal() or int(text[1:]) > 0xFFFF:
        raise RecordTextError(f"'{text}' is no slot register")
    return int(text[1:])


def _letter(text: str) -> int:
    if len(text) != 1 or text not in COMPUTE_DIMS:
        raise RecordTextError(f"'{text}' is no dimension of compute")
    return COMPUTE_DIMS.index(text)


def _member(kind: type[IntEnum], text: str) -> int:
    if text.upper() not in kind.__members__:
        raise RecordTextError(f"'{text}' is no {kind.__name__.lower()}")
    return int(kind[text.upper()])
