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
from functools import lru_cache
from typing import Any

import numpy as np

from flexc.backends.stream.isa import (
    COMPUTE_DIMS,
    DIM,
    DIM_FIELDS,
    DIMS,
    NO_LIMIT,
    NO_SLOT,
    OPCODES,
    OPERAND,
    OPERANDS,
    RECORD,
    RECORD_FIELDS,
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
_FIELD_NAMES = [field.name for field in RECORD_FIELDS]
_BLANK = blank_records(1).tobytes()
_DIMS_AT = RECORD.itemsize - DIMS * DIM.itemsize - OPERANDS * OPERAND.itemsize
_OPERANDS_AT = RECORD.itemsize - OPERANDS * OPERAND.itemsize
_NO_OPERAND = _BLANK[_OPERANDS_AT : _OPERANDS_AT + OPERAND.itemsize]
_SLOT_BYTES = OPERAND["slot"].itemsize
_FIELD_BYTES = {
    name: (offset, offset + dtype.itemsize) for name, (dtype, offset, *_) in dict(RECORD.fields or {}).items()
}
_USED_DIMS_AT = _FIELD_BYTES["used_dims"][0]
_FIELD = re.compile(r"([a-z_]+)=(\S+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")


class RecordTextError(ValueError):
    """Lines that are no record; ``line`` counts from that of the record itself, 0."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def print_record(record: Any) -> list[str]:
    """The lines of a record, which ``parse_record`` turns into the same bytes."""
    return print_content(record.tobytes())


def print_content(content: bytes) -> list[str]:
    """As :func:`print_record` for the bytes of a record."""
    try:
        return _print(content)
    except (ValueError, IndexError):
        # A field without a name, or one that has no meaning here: only bytes can say it.
        return [f"raw {content.hex()}"]


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


def _print(content: bytes) -> list[str]:
    """The lines of a record's bytes; ValueError or IndexError where they would not say all of it.

    Its parts recur from record to record: each is printed, and parsed again, only once.
    """
    opcode = Opcode(content[0])
    header, used = _print_header(content[:_DIMS_AT]) if OPCODES[opcode].operands else _print_control(content)
    if content[_DIMS_AT:] == _BLANK[_DIMS_AT:] and not used:
        return [header]
    if used > DIMS or content[_DIMS_AT + used * DIM.itemsize : _OPERANDS_AT].strip(b"\0"):
        raise ValueError("a dimension beyond used_dims")
    operands = OPCODES[opcode].operands
    lines = [header]
    for place in range(OPERANDS):
        at = _OPERANDS_AT + place * OPERAND.itemsize
        operand = content[at : at + OPERAND.itemsize]
        if operand != _NO_OPERAND:
            slot = int.from_bytes(operand[:_SLOT_BYTES], "little")
            register = NO_REGISTER if slot == NO_SLOT else f"r{slot}"
            lines.append(f"  {operands[place]} {register} {_print_access(operand[_SLOT_BYTES:], used)}")
    for d in range(used):
        at = _DIMS_AT + d * DIM.itemsize
        name = COMPUTE_DIMS[d] if opcode is Opcode.COMPUTE else "dim"
        lines.append(f"  {name} {_print_dim(content[at : at + DIM.itemsize])}")
    return lines


def _print_control(content: bytes) -> tuple[str, int]:
    """As ``_print_header`` for a record without operands: its fields are integers, seldom another's."""
    opcode = Opcode(content[0])
    words = [opcode.name.lower()]
    unsaid = bytearray(content[:_DIMS_AT])
    unsaid[0] = unsaid[_USED_DIMS_AT] = 0
    for name in OPCODES[opcode].fields:
        first, end = _FIELD_BYTES[name]
        value = int.from_bytes(content[first:end], "little")
        if value or name == "slot":
            words.append(f"{name}={_print_field(name, value)}")
        unsaid[first:end] = bytes(end - first)
    line = " ".join(words)
    if any(unsaid):
        raise ValueError(f"'{line}' does not say all of the record")
    return line, content[_USED_DIMS_AT]


@lru_cache(maxsize=1 << 14)
def _print_header(header: bytes) -> tuple[str, int]:
    """The line of the fields before the dimensions, and the number of these."""
    record = np.frombuffer(header + _BLANK[_DIMS_AT:], RECORD)[0]
    values: dict[str, Any] = dict(zip(_FIELD_NAMES, record.tolist(), strict=False))
    opcode = Opcode(values["opcode"])
    words = [opcode.name.lower()]
    for name in OPCODES[opcode].fields:
        value = values[name]
        if name == "function":
            rounded = opcode in _ROUNDED
            words.append(Rounding(value).name.lower() if rounded else FUNCTIONS[value].name)
        elif name == "slot" or (name != "used_dims" and record[name].tobytes().strip(b"\0")):
            words.append(f"{name}={_print_field(name, value)}")
    line = " ".join(words)
    parsed = parse_record([line])
    parsed["used_dims"] = values["used_dims"]
    if parsed.tobytes()[:_DIMS_AT] != header:
        raise ValueError(f"'{line}' does not say all of the record")
    return line, values["used_dims"]


def _print_field(name: str, value: Any) -> str:
    if name == "space":
        return Space(value).name.lower()
    if name == "slot":
        return f"r{value}"
    if name in ("lane", "unit"):
        return f"({COMPUTE_DIMS[value[0]]},{value[1]})"
    if name == "pe":
        uses = value[: len(value) - (not any(value[-1]))]
        return ",".join(f"({PeUse(use).name.lower()},{COMPUTE_DIMS[dim]},{pes})" for use, dim, pes in uses)
    if name == "immediate":
        return _tuple(repr(float(number)) for number in value)
    return str(value) if isinstance(value, int) else _tuple(map(str, value))


@lru_cache(maxsize=1 << 14)
def _print_access(content: bytes, used: int) -> str:
    """What comes after the register of an operand, given its bytes after the slot."""
    _, code, addressing, offset, strides = np.frombuffer(bytes(_SLOT_BYTES) + content, OPERAND)[0].tolist()
    words = [Format(code).name.lower(), Addressing(addressing).name.lower()]
    if offset:
        words.append(f"offset={offset}")
    words.append("[" + ",".join(str(stride) for stride in strides[:used]) + "]")
    parsed = blank_records(1)[0]["operand"][0]
    _parse_operand(parsed, ["r0", *words])
    return _checked(" ".join(words), parsed, bytes(_SLOT_BYTES) + content)


@lru_cache(maxsize=1 << 14)
def _print_dim(content: bytes) -> str:
    dim = np.frombuffer(content, DIM)[0]
    words = [str(int(dim["count"]))]
    for field in DIM_FIELDS[1:]:
        value = dim[field.name]
        if field.shape:
            if value.any():
                numbers = [str(int(number)) for number in np.trim_zeros(value, "b")]
                words.append(f"{field.name}={_tuple(numbers)}")
        elif value != _DIM_DEFAULTS.get(field.name, 0):
            words.append(f"{field.name}={int(value)}")
    parsed = blank_records(1)[0]["dim"][0]
    _parse_dim(parsed, words)
    return _checked(" ".join(words), parsed, content)


def _checked(text: str, parsed: Any, content: bytes) -> str:
    if parsed.tobytes() != content:
        raise ValueError(f"'{text}' does not say all of it")
    return text


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
    _parse_dim(record["dim"][dims], words[1:])
    return 1


def _parse_dim(dim: Any, words: list[str]) -> None:
    _assign(dim, "count", _integer(words[0]))
    for name, value in _DIM_DEFAULTS.items():
        dim[name] = value
    for word in words[1:]:
        match = _FIELD.fullmatch(word)
        if match is None or match[1] not in dim.dtype.names:
            raise RecordTextError(f"'{word}' is no field of a dimension")
        name, text = match[1], match[2]
        if np.ndim(dim[name]):
            numbers = [_integer(part) for part in _parts(text, None)]
            _assign(dim, name, numbers + [0] * (len(dim[name]) - len(numbers)))
        else:
            _assign(dim, name, _integer(text))


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
