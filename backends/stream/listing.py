"""The listing of a stream: text that ``assemble`` turns into the same stream.

Directives (``.machine``, ``.incbin``, ``.symbol`` with its ``.plane`` lines, ``.group``) come first, then the
records (see ``record_text``), loop bodies indented. Initial data stays in a file of its own, named by
``.incbin``. Lines that start with ``;`` are comments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from flexc.backends.stream.isa import Opcode
from flexc.backends.stream.program import Stream, Symbol
from flexc.backends.stream.record_text import print_content

DATA_FILE = "stream.data"


def disassemble(stream: Stream, data_file: str = DATA_FILE) -> str:
    """The listing of a stream, whose :func:`initial_bytes` are in ``data_file``."""
    lines = [_machine_line(stream), *_initial_lines(stream, data_file)]
    for symbol in stream.symbols:
        lines += _symbol_lines(symbol)
    for group in stream.groups:
        lines.append(f".group {group.index} {_text(group.label)} {group.first_record} {group.end_record}")
    starts = {group.first_record: group for group in stream.groups}
    depth = 0
    content, size = stream.records.tobytes(), stream.records.itemsize
    for index, opcode in enumerate(stream.records["opcode"].tolist()):
        if index in starts:
            group = starts[index]
            lines += ["", f"; group {group.index}: {json.dumps(group.label)}, from record {index} on"]
        depth -= opcode == Opcode.END and depth > 0
        lines += ["  " * depth + line for line in print_content(content[index * size : (index + 1) * size])]
        depth += opcode == Opcode.LOOP
    return "\n".join(lines) + "\n"


def initial_bytes(stream: Stream) -> bytes:
    """The initial data of a stream, one segment after the other: what ``.incbin`` lines refer to."""
    return b"".join(segment.content.tobytes() for segment in stream.initial)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: Any) -> str:
    return "[" + ",".join(str(int(value)) for value in values) + "]"


def _machine_line(stream: Stream) -> str:
    machine = stream.machine
    return (
        f".machine {_text(machine.name)} cores={machine.cores} operand={machine.operand_buffer_bytes} "
        f"held={machine.held_buffer_bytes} psum={machine.psum_buffer_bytes} dram={machine.dram_bytes}"
    )


def _initial_lines(stream: Stream, data_file: str) -> Iterator[str]:
    offset = 0
    for segment in stream.initial:
        digest = hashlib.sha256(segment.content.tobytes()).hexdigest()
        yield (
            f".incbin {_text(data_file)} at={segment.address_bytes} offset={offset} "
            f"size={segment.content.size} sha256={digest}"
        )
        offset += segment.content.size


def _symbol_lines(symbol: Symbol) -> Iterator[str]:
    block = "" if symbol.tile is None else f" tile={_list(symbol.tile)} mantissa_bits={symbol.mantissa_bits}"
    yield (
        f".symbol {_text(symbol.name)} {symbol.kind} {_list(symbol.shape)} "
        f"complete_at={symbol.complete_at}{block}"
    )
    for plane in symbol.planes:
        yield (
            f"  .plane {plane.format.name.lower()} {_list(plane.shape)} stride={_list(plane.stride_bits)} "
            f"at={plane.address_bytes} size={plane.size_bytes}"
        )
