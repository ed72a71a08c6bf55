"""The binary form of a stream, and back.

| bytes | meaning (integers are little endian) |
|---|---|
| 0 to 7 | ``FLEXBSTR`` |
| 8 to 11 | version of the format |
| 12 to 15 | size of a record in bytes |
| 16 to 39 | sizes of the three sections, 8 bytes each: records, directory, initial data |
| 40 to 71 | SHA-256 of the sections |
| from 72 on | the records |
| then | the directory, JSON in UTF-8: machine, symbols, groups, addresses of initial data |
| then | the initial data, one segment after the other |
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np

from flexc.backends.stream.directory import directory_text, parse_directory
from flexc.backends.stream.isa import RECORD
from flexc.backends.stream.program import InitialData, Stream
from flexc.diagnostics import CompileError, Place, error

MAGIC = b"FLEXBSTR"
VERSION = 2
_HEADER = struct.Struct("<8sIIQQQ32s")


def encode(stream: Stream) -> bytes:
    """The bytes of a stream: equal streams give equal bytes."""
    directory = directory_text(stream).encode()
    records = np.ascontiguousarray(stream.records).tobytes()
    initial = b"".join(segment.content.tobytes() for segment in stream.initial)
    body = records + directory + initial
    sizes = (len(records), len(directory), len(initial))
    return _HEADER.pack(MAGIC, VERSION, RECORD.itemsize, *sizes, hashlib.sha256(body).digest()) + body


def decode(content: bytes, file: str = "") -> Stream:
    """The stream that ``content`` encodes; ``file`` is named in errors.

    Raises CompileError: FX531 no stream, FX532 another version, FX533 damaged.
    """
    place = Place(file)
    if len(content) < _HEADER.size or not content.startswith(MAGIC):
        raise error("FX531", "this is no instruction stream", place=place)
    _, version, record_bytes, *sizes, digest = _HEADER.unpack_from(content)
    if (version, record_bytes) != (VERSION, RECORD.itemsize):
        raise error(
            "FX532",
            f"the stream is of version {version} with records of {record_bytes} bytes",
            place=place,
            hint=f"compile again: this release reads version {VERSION}, records of {RECORD.itemsize} bytes",
        )
    body = memoryview(content)[_HEADER.size :]
    if len(body) != sum(sizes):
        raise _damaged(f"{len(body)} bytes in sections of {sum(sizes)}", place)
    if hashlib.sha256(body).digest() != digest:
        raise _damaged("the checksum does not match", place)
    if sizes[0] % RECORD.itemsize:
        raise _damaged("the last record is cut off", place)
    records = np.frombuffer(body[: sizes[0]], RECORD)
    initial = np.frombuffer(body[sizes[0] + sizes[1] :], np.uint8)
    try:
        directory = parse_directory(bytes(body[sizes[0] : sizes[0] + sizes[1]]).decode())
    except ValueError as cause:
        raise _damaged(f"directory: {cause}", place) from cause
    segments = []
    start = 0
    for address, size in directory.initial:
        segments.append(InitialData(address, initial[start : start + size]))
        start += size
    if start != initial.size:
        raise _damaged(f"{initial.size} bytes of initial data, of which {start} have a place", place)
    return Stream(records, directory.symbols, tuple(segments), directory.machine, directory.groups)


def read_stream(path: Path) -> Stream:
    """The stream in a file. Raises CompileError as :func:`decode`, and FX530 where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise error("FX530", f"cannot read: {cause.strerror or cause}", place=Place(str(path))) from cause
    return decode(content, str(path))


def _damaged(message: str, place: Place) -> CompileError:
    return error("FX533", f"the stream is damaged: {message}", place=place, hint="compile the model again")
