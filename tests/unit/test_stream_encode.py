"""The binary form of streams: equal bytes for equal streams, and nothing damaged is read."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from flexc.backends.stream.encode import decode, encode, read_stream
from flexc.backends.stream.program import Stream
from flexc.diagnostics import CompileError
from tests.stream_programs import ConvCase, conv_program

HEADER = 72


@pytest.fixture(scope="module")
def stream() -> Stream:
    return conv_program(ConvCase()).stream


def test_decoding_gives_the_stream_back(stream: Stream) -> None:
    content = encode(stream)
    back = decode(content)
    assert back.records.tobytes() == stream.records.tobytes()
    assert (back.symbols, back.machine, back.groups) == (stream.symbols, stream.machine, stream.groups)
    assert [one.address_bytes for one in back.initial] == [one.address_bytes for one in stream.initial]
    assert encode(back) == content


def code_of(content: bytes) -> str:
    with pytest.raises(CompileError) as caught:
        decode(content, "stream.bin")
    return caught.value.diagnostics[0].code


def test_other_files_are_refused(stream: Stream) -> None:
    assert code_of(b"") == "FX531"
    assert code_of(b"\0" * 100) == "FX531"
    assert code_of(encode(stream)[: HEADER - 1]) == "FX531"


def test_other_versions_are_refused(stream: Stream) -> None:
    content = bytearray(encode(stream))
    content[8] += 1
    assert code_of(bytes(content)) == "FX532"
    content = bytearray(encode(stream))
    content[12] += 1
    assert code_of(bytes(content)) == "FX532"


@pytest.mark.parametrize("place", [17, 41, HEADER, -1])
def test_a_changed_byte_is_seen(stream: Stream, place: int) -> None:
    content = bytearray(encode(stream))
    content[place] ^= 1
    assert code_of(bytes(content)) == "FX533"


def test_a_missing_or_added_byte_is_seen(stream: Stream) -> None:
    content = encode(stream)
    assert code_of(content[:-1]) == "FX533"
    assert code_of(content + b"\0") == "FX533"


def with_directory(content: bytes, change: dict[str, object]) -> bytes:
    """The stream with keys of its directory changed and its checksum right."""
    records, directory, _ = struct.unpack_from("<QQQ", content, 16)
    text = content[HEADER + records : HEADER + records + directory]
    changed = json.dumps(json.loads(text) | change).encode()
    body = content[HEADER : HEADER + records] + changed + content[HEADER + records + directory :]
    sizes = struct.pack("<QQQ", records, len(changed), len(body) - records - len(changed))
    return content[:16] + sizes + hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "change",
    [
        {"groups": None},
        {"groups": [{"index": 0}]},
        {"groups": [{"index": -1, "label": "", "first_record": 0, "end_record": 0}]},
        {"symbols": [{}]},
        {"more": 1},
        {"initial": [[0, 1]]},
        {"initial": [[0]]},
        {"machine": {}},
    ],
)
def test_a_directory_that_says_something_else_is_refused(stream: Stream, change: dict[str, object]) -> None:
    assert code_of(with_directory(encode(stream), change)) == "FX533"


def test_an_unchanged_directory_is_read(stream: Stream) -> None:
    assert decode(with_directory(encode(stream), {})).symbols == stream.symbols


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="FX530"):
        read_stream(tmp_path / "stream.bin")
